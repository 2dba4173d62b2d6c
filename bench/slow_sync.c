/* A disk that takes its time: preloaded into a measured server, sleeps after every fsync and fdatasync. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

static int slowly(const char *name, int fd)
{
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *said = getenv("BENCH_SYNC_DELAY_MS");
    double ms = said ? atof(said) : 0;
    struct timespec left = { (time_t)(ms / 1000), (long)(ms * 1e6) % 1000000000L };
    int answer = sync(fd), why = errno;
    while (nanosleep(&left, &left) == -1 && errno == EINTR)
        ;
    errno = why;
    return answer;
}

int fsync(int fd) { return slowly("fsync", fd); }
int fdatasync(int fd) { return slowly("fdatasync", fd); }
