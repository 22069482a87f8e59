/* What a preloaded Redis believes of its disk and of its clock, while a proof says otherwise.
 *
 * The words lie in a file that both map, so that they change while the server runs. Beside them stands how much of the
 * append-only file has surely reached the disk: what a loss of power would leave. No call is looked up: each goes to the
 * kernel itself, so that nothing here depends on who was loaded first. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* The same order as in tampered.rs. */
struct words {
    int64_t sync_ms;      /* how long a sync takes on top */
    int64_t clock_ms;     /* how far the clock is ahead */
    int64_t synced_file;  /* inode of the file that was appended to and synced last */
    int64_t synced_bytes; /* its length when that sync began */
};
static volatile struct words *words;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TAMPERED");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) _exit(97);
    void *map = mmap(NULL, sizeof *words, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (map == MAP_FAILED) _exit(98);
    words = map;
    close(file);
}

static int synced(long call, int file) {
    struct stat before;
    int is_log = fstat(file, &before) == 0 && S_ISREG(before.st_mode) && (fcntl(file, F_GETFL) & O_APPEND);
    struct timespec left = { words->sync_ms / 1000, words->sync_ms % 1000 * 1000000 };
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {}
    int result = (int)syscall(call, file);
    if (result == 0 && is_log) {
        words->synced_file = (int64_t)before.st_ino;
        words->synced_bytes = before.st_size;
    }
    return result;
}
int fsync(int file) { return synced(SYS_fsync, file); }
int fdatasync(int file) { return synced(SYS_fdatasync, file); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && words && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = now->tv_nsec + words->clock_ms % 1000 * 1000000 + 1000000000;
        now->tv_sec += words->clock_ms / 1000 + ns / 1000000000 - 1;
        now->tv_nsec = ns % 1000000000;
    }
    return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *out) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (out) *out = exact.tv_sec;
    return exact.tv_sec;
}
