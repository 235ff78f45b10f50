// What the machine can do at most: fused multiply-adds and reads, as the loops that reach it.
#include <sched.h>

#include <cstddef>
#include <thread>
#include <vector>

namespace {

using Vector64 [[gnu::vector_size(64)]] = float;
using Vector32 [[gnu::vector_size(32)]] = float;

// Independent chains, enough to hide the latency of an fma; returns something that depends on all of them.
template <typename Vector, int kChains>
float chains(long count) {
  Vector sums[kChains] = {}, factor = Vector{} + 0.5f, addend = Vector{} + 1.0f;
  for (Vector& sum : sums) asm("" : "+x"(sum));  // the compiler must not see that all chains are the same
  for (long i = 0; i < count; ++i) {
#pragma GCC unroll 32
    for (Vector& sum : sums) sum = sum * factor + addend;
    asm volatile("" : "+x"(factor), "+x"(addend));
  }
  float total = 0;
  for (const Vector& sum : sums) total += sum[0];
  return total;
}

// The sum of some floats, read once.
float read(const float* data, std::size_t count) {
  constexpr int kSums = 8, kLanes = 16;
  Vector64 sums[kSums] = {};
  for (std::size_t i = 0; i + kSums * kLanes <= count; i += kSums * kLanes)
    for (int j = 0; j < kSums; ++j) sums[j] += *reinterpret_cast<const Vector64*>(data + i + j * kLanes);
  float total = 0;
  for (const Vector64& sum : sums) total += sum[0];
  return total;
}

// A processor for each thread: so short a life is over before the scheduler would spread them.
template <typename Body>
void on_threads(int threads, Body body) {
  if (threads == 1) return body(0);
  cpu_set_t allowed;
  sched_getaffinity(0, sizeof allowed, &allowed);
  std::vector<std::thread> workers;
  for (int thread = 0, cpu = 0; thread < threads && cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    workers.emplace_back([=] {
      cpu_set_t own;
      CPU_ZERO(&own);
      CPU_SET(cpu, &own);
      sched_setaffinity(0, sizeof own, &own);
      body(thread);
    });
    ++thread;
  }
  for (std::thread& worker : workers) worker.join();
}

volatile float sink;

}  // namespace

// Each thread makes `count` rounds of 384 lanes in 64-byte vectors, or of 96 in 32-byte ones.
extern "C" void probe_fma64(int threads, long count) {
  on_threads(threads, [=](int) { sink = chains<Vector64, 24>(count); });
}

extern "C" void probe_fma32(int threads, long count) {
  on_threads(threads, [=](int) { sink = chains<Vector32, 12>(count); });
}

// Each thread reads its share of `count` floats, 64-byte aligned, `times` times.
extern "C" void probe_read(int threads, const float* data, long count, int times) {
  const long share = count / threads / 16 * 16;
  on_threads(threads, [=](int thread) {
    for (int i = 0; i < times; ++i) sink = read(data + thread * share, share);
  });
}
