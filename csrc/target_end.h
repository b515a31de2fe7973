/* End the code that is compiled for the instructions of one level. (With GCC, it ends with the file.) */
#if defined(__clang__)
#pragma clang attribute pop
#endif
