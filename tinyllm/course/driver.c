/* Run a student's C function on arrays between pages of memory that nobody may touch.
 *
 * `kernels.py` compiles this file together with the student's exercise.c, and defines TINYLLM_CALL, such as
 * softmax(y, a, m, k). The program answers requests from its standard input, a socket, in the frames of
 * `protocol.py`. A request is {m, k, n, which, elements of y, of a, of b} and the arrays a and b. The answer
 * is {signal, operand, offset in bytes}, which says what went wrong, and y twice: the arrays lie first at the
 * end of their pages, then at the beginning, so that an access beyond either end is a fault.
 *
 * The process holds only the inputs, and it is in a sandbox: a hostile function can only send wrong numbers.
 */
#define _DEFAULT_SOURCE
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

void softmax(float *y, const float *x, long rows, long n);
void matmul(float *y, const float *a, const float *b, long m, long k, long n);

#define ROOM (1L << 22) /* bytes of the largest array, and of the closed pages on either side */
#define SPARE 4096      /* bytes on the open side of y, filled with CANARY: a write there is no fault */
#define CANARY 0x5A
#define OPERANDS 3      /* y, a, b */

static char *rooms[OPERANDS]; /* each is ROOM closed bytes, ROOM bytes for an array, ROOM closed bytes */
static char *first[OPERANDS]; /* the arrays in them */
static sigjmp_buf back;
static char *volatile fault;
static volatile sig_atomic_t running; /* the student's function */
long tinyllm_which; /* the kernel to run, if exercise.c holds several: see `answer_keys.catalogue` */

static void caught(int number, siginfo_t *info, void *context) {
    (void)context;
    if (!running) {
        signal(number, SIG_DFL); /* not the fault of the student's function: die of it */
        return;
    }
    fault = info->si_addr;
    siglongjmp(back, number);
}

/* What abort() and a failed assert become. The real ones send a signal, which the sandbox forbids. */
_Noreturn void tinyllm_abort(void) {
    if (!running) _exit(1);
    fault = NULL;
    siglongjmp(back, SIGABRT);
}

_Noreturn void tinyllm_assert_fail(const char *what, const char *file, unsigned line, const char *function) {
    (void)what, (void)file, (void)line, (void)function;
    tinyllm_abort();
}

static void catch_faults(void) {
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    static char stack[1 << 16]; /* for the handler: the fault may be that the usual stack is full */
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = caught;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaltstack(&other, NULL);
    for (int i = 0; i < 5; i++) sigaction(numbers[i], &action, NULL);
}

static void receive(void *data, long bytes) {
    for (char *to = data; bytes > 0;) {
        long n = read(0, to, (size_t)bytes);
        if (n <= 0) exit(0); /* the checker has closed the connection */
        to += n, bytes -= n;
    }
}

static void answer(const void *data, long bytes) {
    for (const char *from = data; bytes > 0;) {
        long n = write(0, from, (size_t)bytes);
        if (n <= 0) exit(0);
        from += n, bytes -= n;
    }
}

static void answer_header(const char *header) {
    uint32_t length = (uint32_t)strlen(header);
    answer("TLW1", 4);
    answer(&length, 4);
    answer(header, length);
}

/* Put the arrays at the end of their rooms or at the beginning. The function may only write to y. */
static void lay(char (*inputs)[ROOM], const int64_t *sizes, int at_end) {
    for (int i = 0; i < OPERANDS; i++) {
        char *room = rooms[i] + ROOM;
        size_t bytes = 4 * (size_t)sizes[i];
        first[i] = at_end ? room + ROOM - bytes : room;
        mprotect(room, ROOM, PROT_READ | PROT_WRITE);
        if (i > 0) {
            memcpy(first[i], inputs[i], bytes);
            mprotect(room, ROOM, PROT_READ);
            continue;
        }
        memset(at_end ? first[i] - SPARE : first[i] + bytes, CANARY, SPARE);
        for (long j = 0; j < sizes[i]; j++) ((float *)first[i])[j] = NAN;
    }
}

/* Call the student's function -> 0, or 1 with {signal, operand or -1, offset in bytes} of what went wrong. */
static int call(const int64_t *sizes, long m, long k, long n, int at_end, int64_t *report) {
    float *y = (float *)first[0];
    const float *a = (float *)first[1], *b = (float *)first[2];
    (void)b, (void)m, (void)k, (void)n;
    report[0] = sigsetjmp(back, 1);
    if (report[0] == 0) {
        running = 1;
        TINYLLM_CALL;
    }
    running = 0;
    report[1] = -1;
    if (report[0]) {
        report[2] = (intptr_t)fault;
        for (int i = 0; i < OPERANDS; i++)
            if (fault >= rooms[i] && fault < rooms[i] + 3 * ROOM) report[1] = i, report[2] = fault - first[i];
        return 1;
    }
    const char *spare = at_end ? first[0] - SPARE : first[0] + 4 * sizes[0];
    for (long i = 0; i < SPARE; i++)
        if (spare[i] != CANARY) {
            report[1] = 0, report[2] = spare + i - first[0];
            return 1;
        }
    return 0;
}

static void serve(double seconds) {
    static char inputs[OPERANDS][ROOM], results[2 * ROOM];
    char header[1024];
    struct itimerval limit = {.it_value = {(long)seconds, (long)((seconds - (double)(long)seconds) * 1e6)}};
    answer_header("{\"value\":{\"d\":[[\"ready\",true]]},\"arrays\":[]}");
    for (;;) {
        uint32_t prefix[2];
        int64_t request[7], report[3];
        receive(prefix, sizeof prefix);
        if (prefix[1] > sizeof header) exit(1);
        receive(header, prefix[1]); /* says only what is known: arrays of these types */
        receive(request, sizeof request);
        const int64_t *sizes = request + 4;
        for (int i = 0; i < OPERANDS; i++)
            if (sizes[i] < 0 || sizes[i] > (ROOM - SPARE) / 4) exit(1); /* the checker sends none */
        for (int i = 1; i < OPERANDS; i++) receive(inputs[i], 4 * sizes[i]);
        tinyllm_which = request[3];
        setitimer(ITIMER_PROF, &limit, NULL);
        int failed = 0;
        for (int at_end = 1; at_end >= 0 && !failed; at_end--) {
            lay(inputs, sizes, at_end);
            failed = call(sizes, request[0], request[1], request[2], at_end, report);
            memcpy(results + (at_end ? 0 : 4 * sizes[0]), first[0], 4 * (size_t)sizes[0]);
        }
        fflush(NULL);
        long elements = failed ? 0 : sizes[0];
        snprintf(header, sizeof header, "{\"value\":{\"d\":[[\"value\",[{\"a\":0},{\"a\":1}]]]},"
                 "\"arrays\":[[\"<i8\",[3]],[\"<f4\",[2,%ld]]]}", elements);
        answer_header(header);
        answer(report, sizeof report);
        answer(results, 8 * elements);
    }
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Print the shortest time of a call with n x n matrices, in seconds. */
static void measure(long n) {
    float *y = (float *)(rooms[0] + ROOM), *a = (float *)(rooms[1] + ROOM), *b = (float *)(rooms[2] + ROOM);
    long m = n, k = n;
    double best = 1e9, end = now() + 0.3;
    for (int i = 0; i < OPERANDS; i++) mprotect(rooms[i] + ROOM, ROOM, PROT_READ | PROT_WRITE);
    for (long i = 0; i < n * n; i++) a[i] = b[i] = (float)(i * 7919 % 1000) / 500 - 1;
    (void)b, (void)m, (void)k;
    while (now() < end) {
        double start = now();
        TINYLLM_CALL;
        best = fmin(best, now() - start);
    }
    printf("%.9g\n", best);
}

/* Arguments: the processor time for one call in seconds (0: no limit), or "time" and n. */
int main(int count, char **arguments) {
    for (int i = 0; i < OPERANDS; i++) {
        rooms[i] = mmap(NULL, 3 * ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (rooms[i] == MAP_FAILED) return 1;
    }
    if (count == 3) {
        measure(atol(arguments[2]));
        return 0;
    }
    catch_faults();
    serve(atof(arguments[1]));
}
