/* What programs that change a tenant's store behind Stile's back have in common: the store opened, and a transaction begun. */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>

static void check(int code, const char *what) {
    if (code == 0) return;
    fprintf(stderr, "%s: %s\n", what, mdb_strerror(code));
    exit(1);
}

static void begin_writing(const char *tenant_directory, MDB_env **environment, MDB_txn **transaction) {
    check(mdb_env_create(environment), "creating");
    check(mdb_env_set_mapsize(*environment, (size_t)8 << 30), "setting the map size");
    check(mdb_env_set_maxdbs(*environment, 32), "setting the number of databases");
    check(mdb_env_open(*environment, tenant_directory, 0, 0640), tenant_directory);
    check(mdb_txn_begin(*environment, NULL, 0, transaction), "beginning to write");
}
