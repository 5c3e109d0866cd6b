/*
 * Makes a stored version of a tenant's policies one that this program does not take, as a version from a program with
 * another grammar would be: replaces a text by another of the same length wherever a version has it.
 *
 *   spoil TENANT_DIRECTORY TEXT OTHER
 *
 * Ends with 0 when at least one version was changed.
 */
#define _GNU_SOURCE
#include <string.h>

#include "store.h"

int main(int count, char **arguments) {
    if (count != 4 || strlen(arguments[2]) != strlen(arguments[3])) return 64;
    const char *text = arguments[2], *other = arguments[3];
    MDB_env *environment;
    MDB_txn *transaction;
    MDB_dbi policies;
    MDB_cursor *cursor;
    begin_writing(arguments[1], &environment, &transaction);
    check(mdb_dbi_open(transaction, "policies", 0, &policies), "opening the policies");
    check(mdb_cursor_open(transaction, policies, &cursor), "opening a cursor");
    MDB_val key, value;
    int changed = 0;
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        char *found = memmem(value.mv_data, value.mv_size, text, strlen(text));
        if (!found) continue;
        char *copy = malloc(value.mv_size);
        if (!copy) return 1;
        memcpy(copy, value.mv_data, value.mv_size);
        memcpy(copy + (found - (char *)value.mv_data), other, strlen(other));
        value.mv_data = copy;
        check(mdb_cursor_put(cursor, &key, &value, MDB_CURRENT), "writing");
        free(copy);
        changed++;
    }
    mdb_cursor_close(cursor);
    check(mdb_txn_commit(transaction), "committing");
    mdb_env_close(environment);
    return changed > 0 ? 0 : 1;
}
