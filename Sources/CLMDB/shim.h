/* The face of LMDB (liblmdb-dev) for Swift. */
#include <lmdb.h>
