// The choice of instruction set. A process chooses once, so tests that depend on the environment start this
// program again: its test "report_active" prints the active set, or the error.
#if defined(__linux__)
#include <unistd.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "check.hpp"
#include "kernels/table.hpp"
#include "nncore/runtime.hpp"

using namespace nncore;

namespace {

const std::vector<std::string> kAllNames = {"baseline", "neon", "avx2", "avx512"};

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

#if defined(__linux__)
/// What a fresh process with NNCORE_ISA=value prints: the active set, or the error.
std::string active_with(const std::string& value) {
  char self[4096] = {};
  CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
  FILE* process = popen(("NNCORE_ISA='" + value + "' '" + self + "' report_active").c_str(), "r");
  char line[4096] = {};
  const char* first = std::fgets(line, sizeof line, process);
  while (std::fgetc(process) != EOF) {
  }
  pclose(process);
  std::string text = first != nullptr ? first : "";
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}
#endif

}  // namespace

TEST(report_active) {
  try {
    const std::string name = active_instruction_set();
    std::printf("%s\n", name.c_str());
    CHECK(contains(supported_instruction_sets(), name));
  } catch (const std::invalid_argument& error) {
    std::printf("%s\n", error.what());
  }
}

TEST(built_and_supported) {
  const auto built = built_instruction_sets();
  const auto supported = supported_instruction_sets();
  CHECK(built.front() == "baseline" && supported.front() == "baseline");
  for (const std::string& name : built) CHECK(contains(kAllNames, name));
  for (const std::string& name : supported) CHECK(contains(built, name));
  std::printf("built and runnable here:");
  for (const std::string& name : supported) std::printf(" %s", name.c_str());
  std::printf("\n");
}

TEST(use_switches_both_tables) {
  const std::string before = active_instruction_set();
  for (const std::string& name : supported_instruction_sets()) {
    use_instruction_set(name);
    CHECK(active_instruction_set() == name);
    const int lanes = kernels::active<float>().lanes;
    CHECK(lanes == (name == "avx512" ? 16 : name == "avx2" ? 8 : 4));
    CHECK(kernels::active<double>().lanes * 2 == lanes);
  }
  use_instruction_set(before);
}

TEST(use_refuses_unknown_names_and_keeps_the_old) {
  const std::string before = active_instruction_set();
  for (const char* name : {"", "AVX2", "avx3", "avx512 "}) {
    CHECK_THROWS(use_instruction_set(name), std::invalid_argument, '"' + std::string(name) + '"');
    CHECK_THROWS(use_instruction_set(name), std::invalid_argument, "baseline");
    CHECK(active_instruction_set() == before);
  }
}

TEST(use_refuses_what_cannot_run) {
  for (const std::string& name : kAllNames) {
    if (contains(supported_instruction_sets(), name)) continue;
    const char* reason = contains(built_instruction_sets(), name) ? "cannot run" : "not built with";
    CHECK_THROWS(use_instruction_set(name), std::invalid_argument, reason);
  }
}

#if defined(__linux__)
TEST(environment_chooses) {
  const auto supported = supported_instruction_sets();
  for (const std::string& name : supported) CHECK(active_with(name) == name);
  CHECK(active_with("") == supported.back());  // empty counts as unset: the strongest
}

TEST(environment_refuses_loudly) {
  const std::string message = active_with("sse9");
  for (const char* part : {"NNCORE_ISA", "\"sse9\"", "NNCORE_ISA must be one of baseline"})
    CHECK(message.find(part) != std::string::npos);
}
#endif

TEST(first_use_from_many_threads) {
  std::vector<std::thread> threads;
  std::vector<const kernels::Kernels<float>*> seen(8);
  for (std::size_t i = 0; i < seen.size(); ++i)
    threads.emplace_back([&seen, i] { seen[i] = &kernels::active<float>(); });
  for (std::thread& thread : threads) thread.join();
  for (const auto* table : seen) CHECK(table == &kernels::active<float>());
}

TEST(version_and_compiler_are_told) {
  int major = -1, minor = -1, patch = -1;
  CHECK(std::sscanf(version(), "%d.%d.%d", &major, &minor, &patch) == 3);
  CHECK(std::string(compiler()).find_first_of("0123456789") != std::string::npos);
}
