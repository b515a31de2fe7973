/* All kernels at one level: included by level_*.c, which sets LEVEL, LANES and VEC_FMA. Not compiled by itself. */
#include "tinyllm.h"

#include "simd.h"
#include "approx.h"
#include "tile.h"
#include "transpose.h"
#include "dot.h"

#include "matmul.c"
#include "ladder.c"
#include "attention.c"
#include "elementwise.c"
#include "softmax.c"
#include "norm.c"
#include "loss.c"

#include "embedding.c"
#include "lowp.c"
#include "quant.c"
#include "optim.c"
#include "probe.c"
#include "rope.c"
#include "sample.c"
#include "split.c"

#define NAME_(level) kernels_##level
#define NAME(level) NAME_(level)
#define TEXT_(level) #level
#define TEXT(level) TEXT_(level)

const struct kernels NAME(LEVEL) = {
    .level = TEXT(LEVEL),
#define X(file, result, name, arguments) .name = name,
    TINYLLM_KERNELS(X)
#undef X
};
