// Forked processes.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

/// The child's exit status of body(), which must come within ten seconds.
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
