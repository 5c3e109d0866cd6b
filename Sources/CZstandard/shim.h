/* The face of Zstandard (libzstd-dev) for Swift. */
#include <zstd.h>
