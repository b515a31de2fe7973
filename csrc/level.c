/* Define all kernels for one instruction set (level). level_*.c define the macros of simd.h, then include this file. */
#include "tinyllm.h"

#include "simd.h"
#include "approx.h"
#include "loops.h"
#include "tile.h"
#include "transpose.h"
#include "dot.h"

#include "kernels.inc" /* the files that the table in tinyllm.h names, in its order */

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
