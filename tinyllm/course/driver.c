/* Run a student's C function on arrays between closed pages of memory, which cannot be read or written.
 *
 * `kernels.py` compiles this file together with the student's exercise.c, and defines TINYLLM_CALL, such as
 * softmax(y, a, m, k). The program answers requests from its standard input, a socket, in the frames of
 * `protocol.py`. A request is {m, k, n, elements of y, of a, of b} and the arrays a and b. The answer is
 * {signal, operand, offset in bytes, nanoseconds}, which says what went wrong, and y. The function is called
 * twice: the arrays lie first at the end of their pages, then at the beginning, so that an access beyond
 * either end is a fault.
 *
 * The process holds only the inputs, and it is in a sandbox: a hostile function can only send wrong numbers.
 */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

void softmax(float *y, const float *x, long rows, long n);
void matmul(float *y, const float *a, const float *b, long m, long k, long n);

#define ROOM (1L << 22) /* bytes of the largest array, and of the closed pages on either side */
#define OPERANDS 3      /* y, a, b */

static char *rooms[OPERANDS];       /* each is ROOM closed bytes, ROOM for an array, ROOM closed bytes */
static char *first[OPERANDS];       /* the first byte of each array */
static char inputs[OPERANDS][ROOM]; /* the values of the arrays before a call; y is NaN */
static sigjmp_buf back;
static char *volatile fault;

static void caught(int number, siginfo_t *info, void *context) {
    (void)context;
    fault = info->si_addr;
    siglongjmp(back, number);
}

/* Replace abort() and a failed assert, which send a signal that the sandbox forbids. */
_Noreturn void tinyllm_abort(void) {
    fault = NULL;
    siglongjmp(back, SIGABRT);
}

_Noreturn void tinyllm_assert_fail(const char *what, const char *file, unsigned line, const char *function) {
    (void)what, (void)file, (void)line, (void)function;
    tinyllm_abort();
}

static void catch_faults(void) {
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    static char stack[1 << 16]; /* for the handler, because a full stack may have caused the fault */
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = caught;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaltstack(&other, NULL);
    for (int i = 0; i < 4; i++) sigaction(numbers[i], &action, NULL);
}

/* Copy the inputs to the end of their open pages, or to the beginning. Only the pages of y stay writable. */
static void lay(const int64_t *sizes, int at_end) {
    for (int i = 0; i < OPERANDS; i++) {
        char *room = rooms[i] + ROOM;
        size_t bytes = 4 * (size_t)sizes[i];
        first[i] = at_end ? room + ROOM - bytes : room;
        mprotect(room, ROOM, PROT_READ | PROT_WRITE);
        memcpy(first[i], inputs[i], bytes);
        if (i > 0) mprotect(room, ROOM, PROT_READ);
    }
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Call the student's function -> {signal or 0, operand or -1, offset in bytes, nanoseconds} in `report`. */
static void call(long m, long k, long n, int64_t *report) {
    float *y = (float *)first[0];
    const float *a = (float *)first[1], *b = (float *)first[2];
    (void)b, (void)m, (void)k, (void)n;
    report[0] = sigsetjmp(back, 1);
    if (report[0] == 0) {
        int64_t start = now();
        TINYLLM_CALL;
        report[3] = now() - start;
        return;
    }
    report[1] = -1;
    report[2] = (intptr_t)fault;
    for (int i = 0; i < OPERANDS; i++)
        if (fault >= rooms[i] && fault < rooms[i] + 3 * ROOM) report[1] = i, report[2] = fault - first[i];
}

static void receive(void *data, size_t bytes) {
    if (fread(data, 1, bytes, stdin) < bytes) exit(0); /* the checker has closed the connection */
}

static void answer_header(FILE *out, const char *header) {
    uint32_t length = (uint32_t)strlen(header);
    fwrite("TLW1", 1, 4, out);
    fwrite(&length, 1, 4, out);
    fwrite(header, 1, length, out);
}

int main(void) {
    char header[1024];
    FILE *out = fdopen(dup(0), "w");
    for (int i = 0; i < OPERANDS; i++) {
        rooms[i] = mmap(NULL, 3 * ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (rooms[i] == MAP_FAILED || !out) return 1;
    }
    memset(inputs[0], 0xFF, ROOM); /* a float of such bytes is NaN */
    catch_faults();
    answer_header(out, "{\"value\":{\"d\":[[\"ready\",true]]},\"arrays\":[]}");
    for (;;) {
        uint32_t prefix[2];
        int64_t request[6], report[4] = {0};
        fflush(NULL); /* also what the function printed */
        receive(prefix, sizeof prefix);
        if (prefix[1] > sizeof header) return 1;
        receive(header, prefix[1]); /* not parsed, as the types of the arrays are always the same */
        receive(request, sizeof request);
        const int64_t *sizes = request + 3;
        if (sizes[0] > ROOM / 4) return 1; /* a and b fit, as the arrays of a frame have at most ROOM bytes */
        for (int i = 1; i < OPERANDS; i++) receive(inputs[i], 4 * (size_t)sizes[i]);
        for (int at_end = 1; at_end >= 0 && report[0] == 0; at_end--) {
            lay(sizes, at_end);
            call(request[0], request[1], request[2], report);
        }
        snprintf(header, sizeof header, "{\"value\":{\"d\":[[\"value\",[{\"a\":0},{\"a\":1}]]]},"
                 "\"arrays\":[[\"<i8\",[4]],[\"<f4\",[%ld]]]}", (long)sizes[0]);
        answer_header(out, header);
        fwrite(report, 1, sizeof report, out);
        fwrite(first[0], 4, (size_t)sizes[0], out);
    }
}
