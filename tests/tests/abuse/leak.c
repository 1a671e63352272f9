// Lets a program keep something of each connection that it accepts: LEAK=files or LEAK=memory, as much as LEAK_EACH says.
// Preloaded, to see that whoever looks for leaks finds one.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static long each(long usual) {
    const char *told = getenv("LEAK_EACH");
    return told ? atol(told) : usual;
}

// Seen by others, as far as the compiler knows, so that what is kept is not optimised away.
void *volatile kept;

// Keeps one file of every so many connections, or so many bytes of each.
static void keep(int file) {
    static unsigned long count;
    const char *what = getenv("LEAK");
    if (what && strcmp(what, "files") == 0 && count++ % each(20) == 0) {
        (void)!dup(file);
    }
    if (what && strcmp(what, "memory") == 0) {
        kept = malloc(each(1 << 18));
        if (kept) memset(kept, 1, each(1 << 18));
    }
}

int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags) {
    int (*real)(int, struct sockaddr *, socklen_t *, int) = dlsym(RTLD_NEXT, "accept4");
    int file = real(listener, address, length, flags);
    if (file >= 0) keep(file);
    return file;
}
