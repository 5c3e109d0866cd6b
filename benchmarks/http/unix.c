/* Lets wrk, which knows TCP alone, speak over a Unix socket: preloaded, it puts the socket named by UNIX_SOCKET in place of
   every connection. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int socket(int domain, int type, int protocol) {
    int (*real)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
    if (domain == AF_INET) return real(AF_UNIX, type, 0);
    return real(domain, type, protocol);
}

int connect(int descriptor, const struct sockaddr *address, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t) =
        (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect");
    const char *path = getenv("UNIX_SOCKET");
    struct sockaddr_un place = {.sun_family = AF_UNIX};
    if (address->sa_family != AF_INET || !path || strlen(path) >= sizeof place.sun_path)
        return real(descriptor, address, length);
    strcpy(place.sun_path, path);
    return real(descriptor, (const struct sockaddr *)&place, sizeof place);
}
