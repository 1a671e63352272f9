/* What the tests of faults put between the program and the C library. Each fault is a number in a file that both have mapped, so
   that it begins and ends at the moment when the test says so. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* In the order of `Fault`. */
enum { CLOCK_S, STALL, SPIN, SYNC_MS, SYNC_ERROR, WRITE_ERROR, THREADS, DEATH, COUNT };

static int64_t none[COUNT];
static volatile int64_t *faults = none;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("GAVEL_TEST_FAULTS");
  int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *map = mmap(NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (map != MAP_FAILED) faults = map;
  close(file);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static __thread int is_engine;

int pthread_setname_np(pthread_t thread, const char *name) {
  is_engine = strcmp(name, "engine") == 0;
  return REAL(pthread_setname_np)(thread, name);
}

/* In each step the engine's thread waits for others or wakes them. It does not come back from there. */
long syscall(long number, ...) {
  while (is_engine && (faults[STALL] || faults[SPIN]))
    if (faults[STALL]) usleep(1000);
  va_list more;
  va_start(more, number);
  long one = va_arg(more, long), two = va_arg(more, long), three = va_arg(more, long);
  long four = va_arg(more, long), five = va_arg(more, long), six = va_arg(more, long);
  va_end(more);
  return REAL(syscall)(number, one, two, three, four, five, six);
}

/* When it has written down what is in the step, it looks at the clock, and dies: of SIGABRT, or of a clock that fails. */
static __thread int is_doomed;

/* The time of day jumps; the clock that only counts does not. */
int clock_gettime(clockid_t clock, struct timespec *now) {
  if (is_doomed && faults[DEATH] == SIGABRT) abort();
  if (is_doomed && faults[DEATH]) return is_doomed = 0, errno = EIO, -1;
  int result = REAL(clock_gettime)(clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += faults[CLOCK_S];
  return result;
}

time_t time(time_t *now) {
  struct timespec read;
  clock_gettime(CLOCK_REALTIME, &read);
  if (now) *now = read.tv_sec;
  return read.tv_sec;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  int result = REAL(gettimeofday)(now, zone);
  now->tv_sec += faults[CLOCK_S];
  return result;
}

/* The disk is slow, or fails. */
static int synchronise(int file, int (*real)(int)) {
  if (faults[SYNC_MS]) usleep(faults[SYNC_MS] * 1000);
  if (faults[SYNC_ERROR]) return errno = faults[SYNC_ERROR], -1;
  return real(file);
}

int fsync(int file) { return synchronise(file, REAL(fsync)); }
int fdatasync(int file) { return synchronise(file, REAL(fdatasync)); }

static int fails(int file) {
  struct stat status;
  if (!faults[WRITE_ERROR] || fstat(file, &status) || !S_ISREG(status.st_mode)) return 0;
  return errno = faults[WRITE_ERROR], 1;
}

ssize_t write(int file, const void *bytes, size_t count) {
  return fails(file) ? -1 : REAL(write)(file, bytes, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t start) {
  is_doomed = is_engine && faults[DEATH] && count > 1 && memcmp(bytes, "\0\0", 2);
  return fails(file) ? -1 : REAL(pwrite64)(file, bytes, count, start);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t start) {
  return fails(file) ? -1 : REAL(pwrite)(file, bytes, count, start);
}

/* Files are not made either. */
int open64(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
  va_end(more);
  if (faults[WRITE_ERROR] && flags & O_CREAT) return errno = faults[WRITE_ERROR], -1;
  return ((int (*)(const char *, int, mode_t))dlsym(RTLD_NEXT, "open64"))(path, flags, mode);
}

/* So many threads, the first one counted, there can be at a time; 0 for as many as anybody wants. */
static _Atomic int64_t threads = 1;

struct task {
  void *(*start)(void *);
  void *argument;
};

static void *counted(void *argument) {
  struct task task = *(struct task *)argument;
  free(argument);
  void *result = task.start(task.argument);
  threads--;
  return result;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
  if (faults[THREADS] && threads >= faults[THREADS]) return EAGAIN;
  struct task *task = malloc(sizeof *task);
  *task = (struct task){start, argument};
  threads++;
  int failed = REAL(pthread_create)(thread, attributes, counted, task);
  if (failed) threads--, free(task);
  return failed;
}
