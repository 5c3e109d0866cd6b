/*
 * Makes a tenant's store one from before there were grants: removes that database, with what is in it.
 *
 *   early TENANT_DIRECTORY
 */
#include "store.h"

int main(int count, char **arguments) {
    if (count != 2) return 64;
    MDB_env *environment;
    MDB_txn *transaction;
    MDB_dbi grants;
    begin_writing(arguments[1], &environment, &transaction);
    check(mdb_dbi_open(transaction, "grants", 0, &grants), "opening the grants");
    check(mdb_drop(transaction, grants, 1), "removing the grants");
    check(mdb_txn_commit(transaction), "committing");
    mdb_env_close(environment);
    return 0;
}
