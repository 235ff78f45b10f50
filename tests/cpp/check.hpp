// The small part of a test framework that these tests need: TEST(name) { CHECK(...); } and a main. A test
// binary runs all its tests, or those whose names are given; it exits with 1 if any failed.
#pragma once

#include <cstdio>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

namespace check {

struct Test {
  const char* name;
  void (*run)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

inline int failures = 0;

inline void fail(const char* file, int line, const std::string& what) {
  ++failures;
  std::printf("%s:%d: %s\n", file, line, what.c_str());
}

struct Registration {
  Registration(const char* name, void (*run)()) { tests().push_back({name, run}); }
};

}  // namespace check

#define TEST(name)                                                  \
  static void test_##name();                                        \
  static check::Registration registered_##name{#name, test_##name}; \
  static void test_##name()

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) check::fail(__FILE__, __LINE__, "not true: " #condition); \
  } while (false)

/// Checks that the statement throws `Exception` with a message that contains `text`.
#define CHECK_THROWS(statement, Exception, text)                                                         \
  do {                                                                                                   \
    try {                                                                                                \
      statement;                                                                                         \
      check::fail(__FILE__, __LINE__, "did not throw: " #statement);                                     \
    } catch (const Exception& error) {                                                                   \
      if (std::string(error.what()).find(text) == std::string::npos)                                     \
        check::fail(__FILE__, __LINE__, std::string("message lacks '") + (text) + "': " + error.what()); \
    }                                                                                                    \
  } while (false)

#ifndef CHECK_NO_MAIN
int main(int argc, char** argv) {
  int ran = 0;
  for (const check::Test& test : check::tests()) {
    bool wanted = argc == 1;
    for (int i = 1; i < argc; ++i) wanted = wanted || std::strcmp(argv[i], test.name) == 0;
    if (!wanted) continue;
    const int before = check::failures;
    ++ran;
    try {
      test.run();
    } catch (const std::exception& error) {
      check::fail(__FILE__, __LINE__, std::string(test.name) + " threw: " + error.what());
    }
    std::printf("%s %s\n", check::failures == before ? "ok    " : "FAILED", test.name);
  }
  if (ran == 0) std::printf("no test has that name\n");
  return check::failures > 0 || ran == 0;
}
#endif
