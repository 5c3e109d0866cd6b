/*
 * After an acknowledged change the very next answer must know it. Runs `stile load --each` as a child, changes a user
 * back and forth, and asks after each acknowledgement.
 *
 *   stale SOCKET STILE STORE TENANT FRAMES TRIALS
 *
 * FRAMES: hello, then a question that is permitted exactly while the user "ada" is active and of low risk.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static size_t take(int descriptor, unsigned char *frame) {
    size_t have = 0, want = 4;
    while (have < want) {
        ssize_t got = read(descriptor, frame + have, want - have);
        if (got <= 0) exit(1);
        have += (size_t)got;
        if (have == 4) want = 4 + ((size_t)frame[0] << 24 | frame[1] << 16 | frame[2] << 8 | frame[3]);
    }
    return have;
}

int main(int count, char **arguments) {
    if (count != 7) return 64;
    int to[2], from[2];
    if (pipe(to) || pipe(from)) return 1;
    pid_t child = fork();
    if (child == 0) {
        dup2(to[0], 0), dup2(from[1], 1);
        close(to[1]), close(from[0]);
        execl(arguments[2], arguments[2], "load", "--each", "--store", arguments[3], "--tenant", arguments[4], "-", NULL);
        _exit(127);
    }
    close(to[0]), close(from[1]);
    FILE *lines = fdopen(to[1], "w"), *acknowledgements = fdopen(from[0], "r");
    static unsigned char file[1 << 16], answer[1 << 16];
    FILE *input = fopen(arguments[5], "rb");
    size_t size = input ? fread(file, 1, sizeof file, input) : 0;
    if (size < 8) return 65;
    size_t hello = 4 + ((size_t)file[0] << 24 | file[1] << 16 | file[2] << 8 | file[3]);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, arguments[1], sizeof address.sun_path - 1);
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(server, (struct sockaddr *)&address, sizeof address) || write(server, file, hello) < 0) return 1;
    take(server, answer);
    const char *user = "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:User\"],\"id\":\"ada\",\"userName\":\"ada\","
                       "\"active\":%s,\"userType\":\"employee\",\"department\":\"Finance\"}\n";
    const char *risk = "{\"signal\":{\"name\":\"user.risk\",\"subject\":{\"type\":\"user\",\"id\":\"ada\"},\"value\":\"%s\"}}\n";
    long trials = atol(arguments[6]), stale = 0, permits = 0;
    for (long trial = 0; trial < trials; trial++) {
        int expected = 0;
        switch (trial % 4) {
            case 0: fprintf(lines, user, "false"); break;
            case 1: fprintf(lines, user, "true"), expected = 1; break;
            case 2: fprintf(lines, risk, "high"); break;
            default: fprintf(lines, risk, "low"), expected = 1; break;
        }
        fflush(lines);
        char line[256];
        if (!fgets(line, sizeof line, acknowledgements)) return 1;
        if (write(server, file + hello, size - hello) < 0) return 1;
        take(server, answer);
        /* map, 0: 1, 1: id, 2: outcome */
        int permitted = answer[9] == 2 && answer[10] == 0;
        permits += permitted;
        if (permitted != expected) stale++;
    }
    fclose(lines);
    int status;
    waitpid(child, &status, 0);
    printf("%ld trials, %ld permits, %ld stale\n", trials, permits, stale);
    return stale == 0 && permits * 2 == trials / 2 * 2 ? 0 : 1;
}
