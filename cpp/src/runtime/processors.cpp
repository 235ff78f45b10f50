#include "runtime/processors.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string_view>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace nncore {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

bool contains(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// Where a hierarchy of cgroups is mounted, and which of its groups is mounted there.
struct Mount {
  std::string group, folder;
};

/// The mounted hierarchy of version 2, or that of version 1 with the controller "cpu".
std::optional<Mount> find_mount(const std::string& root, bool is_version_2) {
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    // "36 35 98:0 /group /folder options optional-fields... - type source super-options"
    const std::vector<std::string> words = split(line, ' ');
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 5 || words.end() - dash < 4) continue;
    const bool is_it =
        is_version_2 ? dash[1] == "cgroup2" : dash[1] == "cgroup" && contains(split(dash[3], ','), "cpu");
    if (is_it) return Mount{words[3], words[4]};
  }
  return std::nullopt;
}

/// The group of this process in the same hierarchy; empty: none.
std::string find_group(const std::string& root, bool is_version_2) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);  // "4:cpu,cpuacct:/group"
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (is_version_2 ? controllers.empty() : contains(split(controllers, ','), "cpu"))
      return line.substr(second + 1);
  }
  return "";
}

/// The quota that a group's files give, in processors; nothing if there is none.
std::optional<double> quota_in(const std::string& folder, bool is_version_2) {
  std::string quota;
  double period = 0.0;
  if (is_version_2) {
    std::ifstream(folder + "/cpu.max") >> quota >> period;
  } else {
    std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
    std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  }
  double time = 0.0;  // "max" or -1 where there is none
  if (!(std::istringstream(quota) >> time) || !(time > 0.0) || !(period > 0.0)) return std::nullopt;
  return time / period;
}

}  // namespace

std::optional<double> cpu_quota(const std::string& root) {
  std::optional<double> least;
  for (const bool is_version_2 : {true, false}) {
    const std::optional<Mount> mount = find_mount(root, is_version_2);
    std::string group = find_group(root, is_version_2);
    if (!mount || group.empty()) continue;
    // A container sees only its own group and those below; a group outside counts as the mounted one.
    const std::string above = mount->group == "/" ? "" : mount->group;
    const bool is_below =
        group.compare(0, above.size(), above) == 0 && group.find("/..") == std::string::npos;
    group = is_below ? group.substr(above.size()) : "";
    for (;;) {
      if (const auto quota = quota_in(root + mount->folder + group, is_version_2))
        least = std::min(least.value_or(*quota), *quota);
      if (group.empty() || group == "/") break;
      group.resize(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
    }
  }
  return least;
}

int usable_processors() {
  int count = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) count = CPU_COUNT(&allowed);
  if (const auto quota = cpu_quota(); quota && *quota < count) count = static_cast<int>(*quota);
#endif
  return std::max(count, 1);
}

}  // namespace nncore
