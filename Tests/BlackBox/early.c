/*
 * Makes a tenant's store one from before there were grants: removes that database, with what is in it.
 *
 *   early TENANT_DIRECTORY
 */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>

static void check(int code, const char *what) {
    if (code == 0) return;
    fprintf(stderr, "%s: %s\n", what, mdb_strerror(code));
    exit(1);
}

int main(int count, char **arguments) {
    if (count != 2) return 64;
    MDB_env *environment;
    MDB_txn *transaction;
    MDB_dbi grants;
    check(mdb_env_create(&environment), "creating");
    check(mdb_env_set_mapsize(environment, (size_t)8 << 30), "setting the map size");
    check(mdb_env_set_maxdbs(environment, 32), "setting the number of databases");
    check(mdb_env_open(environment, arguments[1], 0, 0640), arguments[1]);
    check(mdb_txn_begin(environment, NULL, 0, &transaction), "beginning to write");
    check(mdb_dbi_open(transaction, "grants", 0, &grants), "opening the grants");
    check(mdb_drop(transaction, grants, 1), "removing the grants");
    check(mdb_txn_commit(transaction), "committing");
    mdb_env_close(environment);
    return 0;
}
