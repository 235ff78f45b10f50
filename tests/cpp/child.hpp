// Forked processes and programs that run this one again, on Linux: tests that need them are left out
// elsewhere.
#pragma once

#if defined(__linux__)

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

/// The exit status of a forked child that runs body(), which must end within ten seconds.
template <class F>
int status_in_child(F body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(10);
    _exit(body() ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

/// The first line that this program prints when a fresh process runs a test in an environment that has these
/// settings and says nothing else about threads.
inline std::string line_of_child(const std::string& settings, const char* test) {
  char self[4096] = {};
  if (readlink("/proc/self/exe", self, sizeof self - 1) <= 0) return "";
  const std::string command = "env -u NNCORE_NUM_THREADS -u OMP_NUM_THREADS " + settings + " '" + self +
                              "' " + test + " 2>&1 | head -1";
  FILE* process = popen(command.c_str(), "r");
  char line[4096] = {};
  const bool any = std::fgets(line, sizeof line, process) != nullptr;
  pclose(process);
  return any ? line : "";
}

#endif
