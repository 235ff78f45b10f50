// The number of threads: what the environment asks for, and what the system leaves to this process.
#if defined(__linux__)
#include <sched.h>
#endif

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <stdexcept>

#include "check.hpp"
#include "child.hpp"
#include "nncore/runtime.hpp"
#include "runtime/processors.hpp"

using namespace nncore;

TEST(thread_count_is_checked) {
  const int before = num_threads();
  for (const int count : {0, -1, 1025, std::numeric_limits<int>::min()})
    CHECK_THROWS(set_num_threads(count), std::invalid_argument, std::to_string(count));
  CHECK(num_threads() == before);
}

#if defined(__linux__)
TEST(environment_sets_the_thread_count) {
  const auto run = [](const std::string& settings) { return line_of_child(settings, "report_num_threads"); };
  CHECK(run("NNCORE_NUM_THREADS=5") == "5\n");
  for (const char* bad : {"0", "-1", "two", "2x", " 2", "99999999999", "1025", "2,2", "2 "}) {
    const std::string message = run("NNCORE_NUM_THREADS='" + std::string(bad) + "'");
    for (const std::string& part : {std::string("NNCORE_NUM_THREADS"), '"' + std::string(bad) + '"'})
      CHECK(message.find(part) != std::string::npos);
  }
  // OpenMP's variable counts if ours is unset; values that OpenMP would not understand are ignored.
  CHECK(run("OMP_NUM_THREADS=7") == "7\n");
  for (const char* list : {"3,2,1", " 3", "3 ", "3 , 2"})
    CHECK(run("OMP_NUM_THREADS='" + std::string(list) + "'") == "3\n");
  CHECK(run("OMP_NUM_THREADS=7 NNCORE_NUM_THREADS=") == "7\n");
  CHECK(run("OMP_NUM_THREADS=7 NNCORE_NUM_THREADS=2") == "2\n");
  CHECK(run("OMP_NUM_THREADS=5000") == "1024\n");
  for (const char* other : {"", "0", "-4", "many", "4x"})
    CHECK(run("OMP_NUM_THREADS='" + std::string(other) + "'") == run(""));
}

namespace {

void write(const std::string& root, const std::string& path, const std::string& text) {
  const std::filesystem::path file(root + path);
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file) << text;
}

struct Folder {
  Folder() { path = mkdtemp(name); }
  ~Folder() { std::filesystem::remove_all(path); }
  char name[32] = "/tmp/nncore_cgroup_XXXXXX";  // mkdtemp replaces the X
  std::string path;
};

}  // namespace

TEST(quotas_of_a_cgroup_of_version_2) {
  const Folder root;
  const auto quota = [&] { return cpu_quota(root.path); };
  CHECK(!quota());  // nothing to read
  write(root.path, "/proc/self/cgroup", "0::/user/job\n");
  CHECK(!quota());
  write(root.path, "/proc/self/mountinfo",
        "24 1 0:20 / / rw - ext4 /dev/sda rw\n30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 "
        "cgroup2 rw\n");
  CHECK(!quota());
  write(root.path, "/sys/fs/cgroup/user/job/cpu.max", "max 100000\n");
  CHECK(!quota());
  write(root.path, "/sys/fs/cgroup/user/job/cpu.max", "250000 100000\n");
  CHECK(quota() == 2.5);
  write(root.path, "/sys/fs/cgroup/user/cpu.max", "100000 100000\n");  // the enclosing group has less
  CHECK(quota() == 1.0);
  write(root.path, "/sys/fs/cgroup/user/cpu.max", "nonsense\n");
  CHECK(quota() == 2.5);
  // A container that mounts only its own group: its name in the host's tree, in its own tree, and outside.
  write(root.path, "/proc/self/mountinfo", "30 24 0:26 /user /sys/fs/cgroup/user rw - cgroup2 cgroup2 rw\n");
  CHECK(quota() == 2.5);
  write(root.path, "/sys/fs/cgroup/user/cpu.max", "50000 100000\n");
  CHECK(quota() == 0.5);
  write(root.path, "/sys/fs/cgroup/user/job/cpu.max", "20000 100000\n");
  for (const char* outside : {"0::/\n", "0::/../other\n", "0::/elsewhere\n"}) {
    write(root.path, "/proc/self/cgroup", outside);
    CHECK(quota() == 0.5);
  }
}

TEST(quotas_of_a_cgroup_of_version_1) {
  const Folder root;
  const auto quota = [&] { return cpu_quota(root.path); };
  write(root.path, "/proc/self/cgroup", "12:memory:/m\n4:cpu,cpuacct:/docker/abc\n3:cpuset:/s\n0::/\n");
  write(root.path, "/proc/self/mountinfo",
        "33 24 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
        "34 24 0:31 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
  const std::string folder = "/sys/fs/cgroup/cpu,cpuacct";
  CHECK(!quota());
  write(root.path, folder + "/cpu.cfs_quota_us", "-1\n");
  write(root.path, folder + "/cpu.cfs_period_us", "100000\n");
  CHECK(!quota());
  write(root.path, folder + "/cpu.cfs_quota_us", "400000\n");
  CHECK(quota() == 4.0);
  write(root.path, "/proc/self/mountinfo",
        "34 24 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
  write(root.path, folder + "/docker/abc/cpu.cfs_quota_us", "150000\n");
  write(root.path, folder + "/docker/abc/cpu.cfs_period_us", "50000\n");
  CHECK(quota() == 3.0);
  write(root.path, folder + "/docker/abc/cpu.cfs_period_us", "0\n");
  CHECK(quota() == 4.0);
}

TEST(processors_that_may_be_used) {
  const int count = usable_processors();
  CHECK(count >= 1);
  cpu_set_t all, one;
  CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
  CHECK(count <= CPU_COUNT(&all));
  CPU_ZERO(&one);
  for (int i = 0; CPU_COUNT(&one) == 0; ++i)
    if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
  CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
  CHECK(usable_processors() == 1);
  sched_setaffinity(0, sizeof all, &all);
}
#endif

TEST(report_num_threads) {
  try {
    const int count = num_threads();
    std::printf("%d\n", count);
    CHECK(count >= 1 && count <= 1024);
  } catch (const std::invalid_argument& error) {
    std::printf("%s\n", error.what());
  }
}
