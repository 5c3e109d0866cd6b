/*
 * The few Linux calls and constants that Swift's Glibc module hides or cannot express. Nothing here decides
 * anything: each function is the call itself.
 */
#ifndef STILE_CLINUX_H
#define STILE_CLINUX_H

#include <sys/epoll.h>

#endif
