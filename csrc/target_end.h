/* End the part of a level that is compiled for its instructions. (With GCC, it ends with the file.) */
#if defined(__clang__)
#pragma clang attribute pop
#endif
