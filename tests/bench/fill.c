// What preallocation is to be judged by: how fast the kernel gives the CPUs 2M pages of its pool (one thread on each, MADV_POPULATE_WRITE),
// and how fast they then fill these, STREAM's way (arrays far beyond the caches, the best of several passes counts). Prints both, in GiB/s.
//   fill MIB PASSES CPU...
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static pthread_barrier_t gate;
static size_t bytes_each;
static int passes;

static void *fill(void *cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(*(int *)cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) < 0) exit(1);
  char *memory = mmap(NULL, bytes_each, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  if (memory == MAP_FAILED) exit(1);
  for (int pass = 0; pass <= passes; ++pass) {
    pthread_barrier_wait(&gate);
    if (pass > 0) memset(memory, pass, bytes_each);
    else if (madvise(memory, bytes_each, 23 /* MADV_POPULATE_WRITE */) < 0) exit(1);
    pthread_barrier_wait(&gate);
  }
  return NULL;
}

int main(int argc, char **argv) {
  int cpus[1024], count = argc - 3;
  if (count < 1 || count > 1024) return 2;
  passes = atoi(argv[2]);
  bytes_each = ((size_t)atol(argv[1]) << 20) / (size_t)count >> 21 << 21;
  pthread_barrier_init(&gate, NULL, (unsigned)count + 1);
  pthread_t threads[1024];
  for (int i = 0; i < count; ++i) {
    cpus[i] = atoi(argv[3 + i]);
    if (pthread_create(&threads[i], NULL, fill, &cpus[i]) != 0) return 1;
  }
  double given = 0, best = 0;
  for (int pass = 0; pass <= passes; ++pass) {
    struct timespec begun, ended;
    pthread_barrier_wait(&gate);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    pthread_barrier_wait(&gate);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double seconds = (double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9;
    double speed = (double)bytes_each * count / seconds / (1 << 30);
    if (pass == 0) given = speed;
    else if (speed > best) best = speed;
  }
  printf("%.3f %.3f\n", given, best);
  return 0;
}
