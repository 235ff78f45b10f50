// Which instruction set the kernels use: one table, consulted once.
#include <atomic>
#include <cstdlib>
#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "kernels/table.hpp"
#include "nncore/runtime.hpp"

namespace nncore {
namespace {

using kernels::InstructionSet;

struct BuiltSet {
  const InstructionSet* set;
  bool (*can_run)();
};

bool always() { return true; }

#if defined(__x86_64__)
/// What CPUID says the processor has, and XGETBV that the operating system saves. The compiler's
/// __builtin_cpu_supports is not used: it needs a run-time library that zig and clang-cl do not link.
struct Processor {
  bool avx2 = false, avx512 = false;

  Processor() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0) return;
    const bool has_fma = has(c, 12), has_avx = has(c, 28);
    if (!has(c, 27)) return;  // XGETBV itself
    unsigned saved = 0, unused = 0;
    __asm__("xgetbv" : "=a"(saved), "=d"(unused) : "c"(0));
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return;
    avx2 = (saved & 0x06) == 0x06 && has_fma && has_avx && has(b, 5);
    // AVX-512 F, DQ, BW and VL. macOS saves their registers from a thread's first use on, and says so only
    // then.
    avx512 = avx2 && (saved & 0xe0) == 0xe0 && has(b, 16) && has(b, 17) && has(b, 30) && has(b, 31);
  }

 private:
  static bool has(unsigned word, int bit) { return (word >> bit & 1) != 0; }
};

const Processor& processor() {
  static const Processor processor;
  return processor;
}

bool has_avx2() { return processor().avx2; }
bool has_avx512() { return processor().avx512; }
#endif

/// Weakest first.
constexpr BuiltSet kBuiltSets[] = {
    {&kernels::baseline, always},
#if defined(__aarch64__)
    {&kernels::neon, always},
#endif
#if defined(__x86_64__)
    {&kernels::avx2, has_avx2},
    {&kernels::avx512, has_avx512},
#endif
};

/// Null until first used.
std::atomic<const InstructionSet*> active_set{nullptr};

std::string supported_names() {
  std::string names;
  for (const std::string& name : supported_instruction_sets()) names += (names.empty() ? "" : ", ") + name;
  return names;
}

/// `what` names what the user set: the variable or the argument.
const InstructionSet* find_set(const char* what, std::string_view wanted) {
  const char* reason = "this library was not built with";
  for (const BuiltSet& built : kBuiltSets) {
    if (built.set->name != wanted) continue;
    if (built.can_run()) return built.set;
    reason = "this processor cannot run";
  }
  throw std::invalid_argument(std::string(what) + " must be one of " + supported_names() + "; got \"" +
                              std::string(wanted) + "\", which " + reason);
}

const InstructionSet* choose() {
  const char* wanted = std::getenv("NNCORE_ISA");
  if (wanted != nullptr && *wanted != '\0') return find_set("environment variable NNCORE_ISA", wanted);
  const InstructionSet* strongest = nullptr;
  for (const BuiltSet& built : kBuiltSets)
    if (built.can_run()) strongest = built.set;
  return strongest;
}

/// The rare path of active(), not inlined so that the load stays cheap. Threads that come here together all
/// choose the same set; an explicit choice made meanwhile stands.
[[gnu::noinline]] const InstructionSet* choose_at_first_use() {
  const InstructionSet* current = nullptr;
  const InstructionSet* chosen = choose();
  return active_set.compare_exchange_strong(current, chosen, std::memory_order_acq_rel) ? chosen : current;
}

const InstructionSet& active() {
  const InstructionSet* set = active_set.load(std::memory_order_acquire);
  return set != nullptr ? *set : *choose_at_first_use();
}

}  // namespace

namespace kernels {

template <>
const Kernels<float>& active<float>() {
  return *nncore::active().float32;
}

template <>
const Kernels<double>& active<double>() {
  return *nncore::active().float64;
}

}  // namespace kernels

const char* version() { return NNCORE_VERSION; }

const char* compiler() {
#if defined(__clang__)
  return "Clang " __clang_version__;
#elif defined(__GNUC__)
  return "GCC " __VERSION__;
#else
  return "unknown";
#endif
}

std::vector<std::string> built_instruction_sets() {
  std::vector<std::string> names;
  for (const BuiltSet& built : kBuiltSets) names.emplace_back(built.set->name);
  return names;
}

std::vector<std::string> supported_instruction_sets() {
  std::vector<std::string> names;
  for (const BuiltSet& built : kBuiltSets)
    if (built.can_run()) names.emplace_back(built.set->name);
  return names;
}

const char* active_instruction_set() { return active().name; }

void use_instruction_set(std::string_view name) {
  active_set.store(find_set("instruction set", name), std::memory_order_release);
}

}  // namespace nncore
