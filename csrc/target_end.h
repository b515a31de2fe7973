/* Ends what a level compiles for its instructions. (For GCC, the end of the file does.) */
#if defined(__clang__)
#pragma clang attribute pop
#endif
