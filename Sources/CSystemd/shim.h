/* The face of libsystemd (libsystemd-dev) for Swift: socket activation, notification, journal. */
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
