/* All kernels at one level: included by level_*.c, which sets LEVEL, LANES and VEC_FMA. Not compiled by itself. */
#include "tinyllm.h"

#include "simd.h"
#include "approx.h"
#include "tile.h"

#include "elementwise.c"
