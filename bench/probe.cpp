// The machine's peak rates: loops of fused multiply-adds and of reads that reach them.
#include <sched.h>

#include <cstddef>
#include <thread>
#include <vector>

namespace {

using Vector64 [[gnu::vector_size(64)]] = float;
using Vector32 [[gnu::vector_size(32)]] = float;
using Vector16 [[gnu::vector_size(16)]] = float;
#if defined(__AVX512F__)
using Widest = Vector64;
#elif defined(__AVX__)
using Widest = Vector32;
#else
using Widest = Vector16;
#endif

// The compiler cannot know the values read from these, so it keeps all chains distinct.
volatile float first = 1.0f, factor = 0x1p-30f;
template <typename Vector>
volatile Vector result;  // forces the computation of all lanes written to it

// Enough independent chains to hide the latency of an fma; each is one in-place instruction on any machine.
template <typename Vector, int kChains>
void chains(long count) {
  Vector sums[kChains], total = {};
  for (Vector& sum : sums) sum = Vector{} + first;
  const Vector factors = Vector{} + factor;
  for (long i = 0; i < count; ++i) {
#pragma GCC unroll 32
    for (Vector& sum : sums) sum += sum * factors;
  }
  for (const Vector& sum : sums) total += sum;
  result<Vector> = total;
}

// Reads `count` floats once.
void read(const float* data, std::size_t count) {
  constexpr std::size_t kSums = 8, kLanes = sizeof(Widest) / sizeof(float);
  Widest sums[kSums] = {}, total = {};
  for (std::size_t i = 0; i + kSums * kLanes <= count; i += kSums * kLanes)
    for (std::size_t j = 0; j < kSums; ++j)
      sums[j] += *reinterpret_cast<const Widest*>(data + i + j * kLanes);
  for (const Widest& sum : sums) total += sum;
  result<Widest> = total;
}

// Pins each thread to a processor, as these threads end before the scheduler would spread them.
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

}  // namespace

// Each thread makes `count` rounds of 384 lanes in 64-byte vectors, or of 96 in shorter ones.
extern "C" void probe_fma64(int threads, long count) {
  on_threads(threads, [=](int) { chains<Vector64, 24>(count); });
}

extern "C" void probe_fma32(int threads, long count) {
  on_threads(threads, [=](int) { chains<Vector32, 12>(count); });
}

extern "C" void probe_fma16(int threads, long count) {
  on_threads(threads, [=](int) { chains<Vector16, 24>(count); });
}

// Each thread reads its share of `count` floats, 64-byte aligned, `times` times.
extern "C" void probe_read(int threads, const float* data, long count, int times) {
  const long share = count / threads / 16 * 16;
  on_threads(threads, [=](int thread) {
    for (int i = 0; i < times; ++i) read(data + thread * share, share);
  });
}
