// How many processors this process may use.
#pragma once

#include <optional>
#include <string>

namespace nncore {

/// The processors that the system gives the process's threads: its affinity, and the quotas of its cgroup,
/// rounded down, of which a spinning pool must not use more. At least 1.
int usable_processors();

/// Processors' worth of time that the cgroup of this process and those around it leave it, whether of version
/// 1 or 2; nothing where none has a quota. `root`, empty or a folder, stands before all paths that are read.
std::optional<double> cpu_quota(const std::string& root = "");

}  // namespace nncore
