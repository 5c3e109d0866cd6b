/*
 * The service manager's end of sd_notify(3): takes messages on a datagram socket and writes each on a line, the
 * microseconds of the monotonic clock in front and a semicolon between its assignments.
 *
 *   notify SOCKET
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **arguments) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (count != 2 || strlen(arguments[1]) >= sizeof address.sun_path) return 64;
    strcpy(address.sun_path, arguments[1]);
    int descriptor = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&address, sizeof address)) {
        perror(arguments[1]);
        return 1;
    }
    char message[4096];
    for (;;) {
        ssize_t size = recv(descriptor, message, sizeof message - 1, 0);
        if (size < 0) return 1;
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        message[size] = 0;
        for (char *byte = message; *byte; byte++) {
            if (*byte == '\n') *byte = ';';
        }
        printf("%lld %s\n", (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000, message);
        fflush(stdout);
    }
}
