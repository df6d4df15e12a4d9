/* Logs, in order, what a process does to the files below $DISKLOG_ROOT: for tests that cut the power afterwards.
 *
 * LD_PRELOAD this library. Each event is one record in $DISKLOG_OUT: a letter, an inode number, an offset, two
 * lengths (all 64 bits, native order), then two byte strings. Letters: O made or opened a file to write (text: path),
 * W wrote (text: content), T cut to `offset` bytes, S synced a file, D synced a folder (text: path), R renamed
 * (two paths), U unlinked, M made a folder. Reads are not logged; a failed call is not logged.
 *
 * `disklog_fail(at, error, lasting)` makes the at-th such call from now on fail with an errno, and with `lasting` every
 * one after it; 0 ends that. `disklog_seen()` counts the calls since. A file called `told` is spared.
 *
 * With $DISKLOG_CUT_AT the file system of the root is shut down right before that call, nothing of it written out, and
 * the process ends with status 75; with 76 where the file system cannot do so. With $DISKLOG_NO_SYNC files whose path
 * holds that text are never synced, and nobody hears of it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, name)

#define FS_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#define WITHOUT_LOG_FLUSH 2

static const char *root, *no_sync;
static int out = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long seen, fail_at, fail_with, fail_lasting, cut_at;

void disklog_fail(long at, int error, int lasting)
{
    seen = 0, fail_at = at, fail_with = error, fail_lasting = lasting;
}

long disklog_seen(void)
{
    return seen;
}

__attribute__((constructor)) static void begin(void)
{
    root = getenv("DISKLOG_ROOT");
    no_sync = getenv("DISKLOG_NO_SYNC");
    const char *path = getenv("DISKLOG_OUT"), *at = getenv("DISKLOG_CUT_AT");
    cut_at = at ? atol(at) : 0;
    if (root && path) out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int below(const char *path)
{
    return root && path && !strncmp(path, root, strlen(root)) && !strstr(path, "-shm");
}

static void cut_power(void)
{
    uint32_t how = WITHOUT_LOG_FLUSH;
    int fd = open(root, O_RDONLY | O_DIRECTORY);
    _exit(fd < 0 || ioctl(fd, FS_IOC_SHUTDOWN, &how) ? 76 : 75);
}

/* Whether a call on `path` is to fail; errno says how. */
static int fails(const char *path)
{
    size_t n = strlen(path);
    if (n > 5 && !strcmp(path + n - 5, "/told")) return 0;
    seen++;
    if (seen == cut_at) cut_power();
    if (!fail_at || seen < fail_at || (seen > fail_at && !fail_lasting)) return 0;
    errno = fail_with;
    return 1;
}

static void event(char letter, uint64_t inode, uint64_t offset, const void *a, uint64_t na, const void *b, uint64_t nb)
{
    if (out < 0) return;
    REAL(ssize_t, "write", int, const void *, size_t);
    uint64_t head[5] = {(uint64_t)letter, inode, offset, na, nb};
    pthread_mutex_lock(&lock);
    if (real(out, head, sizeof head) != sizeof head || real(out, a, na) != (ssize_t)na || real(out, b, nb) != (ssize_t)nb)
        abort();
    pthread_mutex_unlock(&lock);
}

/* The path behind a descriptor if it lies below the root, and its inode. */
static int known(int fd, char *path, struct stat *found)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, 4095);
    if (n < 0) return 0;
    path[n] = 0;
    return below(path) && !fstat(fd, found);
}

static int opened(int fd, const char *path, int flags)
{
    struct stat found;
    if (fd >= 0 && below(path) && (flags & O_ACCMODE) != O_RDONLY && !fstat(fd, &found)) {
        event('O', found.st_ino, 0, path, strlen(path), "", 0);
        if (flags & O_TRUNC) event('T', found.st_ino, 0, "", 0, "", 0);
    }
    return fd;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        REAL(int, #name, const char *, int, ...); \
        va_list list; \
        va_start(list, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; \
        va_end(list); \
        if ((flags & O_ACCMODE) != O_RDONLY && below(path) && fails(path)) return -1; \
        return opened(real(path, flags, mode), path, flags); \
    }
OPEN(open)
OPEN(open64)

static int fd_fails(int fd)
{
    char path[4096];
    struct stat found;
    return known(fd, path, &found) && fails(path);
}

static ssize_t wrote(int fd, const void *data, ssize_t n, int64_t offset)
{
    char path[4096];
    struct stat found;
    if (n > 0 && known(fd, path, &found)) {
        if (offset < 0) offset = lseek(fd, 0, SEEK_CUR) - n;
        event('W', found.st_ino, offset, data, n, "", 0);
    }
    return n;
}

ssize_t write(int fd, const void *data, size_t n)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    if (fd == out) return real(fd, data, n);
    return fd_fails(fd) ? -1 : wrote(fd, data, real(fd, data, n), -1);
}

#define PWRITE(name, type) \
    ssize_t name(int fd, const void *data, size_t n, type offset) \
    { \
        REAL(ssize_t, #name, int, const void *, size_t, type); \
        return fd_fails(fd) ? -1 : wrote(fd, data, real(fd, data, n, offset), offset); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define TRUNCATE(name, type) \
    int name(int fd, type size) \
    { \
        REAL(int, #name, int, type); \
        if (fd_fails(fd)) return -1; \
        char path[4096]; \
        struct stat found; \
        int result = real(fd, size); \
        if (!result && known(fd, path, &found)) event('T', found.st_ino, size, "", 0, "", 0); \
        return result; \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name) \
    int name(int fd) \
    { \
        REAL(int, #name, int); \
        if (fd_fails(fd)) return -1; \
        char path[4096]; \
        struct stat found; \
        if (no_sync && known(fd, path, &found) && S_ISREG(found.st_mode) && strstr(path, no_sync)) return 0; \
        int result = real(fd); \
        if (!result && known(fd, path, &found)) { \
            if (S_ISDIR(found.st_mode)) event('D', found.st_ino, 0, path, strlen(path), "", 0); \
            else event('S', found.st_ino, 0, "", 0, "", 0); \
        } \
        return result; \
    }
SYNC(fsync)
SYNC(fdatasync)

int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *);
    if (below(to) && fails(to)) return -1;
    int result = real(from, to);
    if (!result && below(to)) event('R', 0, 0, from, strlen(from), to, strlen(to));
    return result;
}

int unlink(const char *path)
{
    REAL(int, "unlink", const char *);
    if (below(path) && fails(path)) return -1;
    int result = real(path);
    if (!result && below(path)) event('U', 0, 0, path, strlen(path), "", 0);
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    REAL(int, "mkdir", const char *, mode_t);
    if (below(path) && fails(path)) return -1;
    int result = real(path, mode);
    if (!result && below(path)) event('M', 0, 0, path, strlen(path), "", 0);
    return result;
}
