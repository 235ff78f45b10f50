// How many processors this process may use.
#pragma once

#include <optional>
#include <string>

namespace nncore {

/// The number of processors that the process may use, at least 1: its affinity, limited by the quota of its
/// cgroup. The quota is rounded down, because threads that spin must not exceed it.
int usable_processors();

/// The least quota, in processors, of this process's cgroup (version 1 or 2) and those that contain it;
/// nothing if none has a quota. `root`, empty or a folder, is put before all paths that are read.
std::optional<double> cpu_quota(const std::string& root = "");

}  // namespace nncore
