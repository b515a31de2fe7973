/* How the C drivers say that something does not hold, and stop. */
#include <stdio.h>
#include <stdlib.h>

#define COUNT(...) (sizeof(__VA_ARGS__) / sizeof((__VA_ARGS__)[0]))
#define REQUIRE(holds, ...)                                                                                           \
    do {                                                                                                              \
        if (holds) break;                                                                                             \
        fprintf(stderr, __VA_ARGS__);                                                                                 \
        fprintf(stderr, " (%s:%d)\n", __FILE__, __LINE__);                                                            \
        exit(1);                                                                                                      \
    } while (0)
