// The runtime, random numbers, and the tables of entries.
#include "nncore/runtime.hpp"

#include <pybind11/stl.h>

#include <array>

#include "arrays.hpp"
#include "calls.hpp"
#include "guards.hpp"
#include "nncore/random.hpp"
#include "register.hpp"

namespace nncore::bindings {

namespace {

py::dict show_config() {
  py::dict config;
  config["version"] = version();
  config["compiler"] = compiler();
  config["thread_backend"] = thread_backend();
  config["num_threads"] = num_threads();
  config["instruction_sets_built"] = built_instruction_sets();
  config["instruction_sets_supported"] = supported_instruction_sets();
  config["instruction_set"] = active_instruction_set();
  return config;
}

constexpr Signature<0> kNothing("()");
constexpr Signature<1> kCount("(count)");

py::object bound_set_num_threads(const Arguments<1>& arguments) {
  set_num_threads(static_cast<int>(as_integer(arguments[0], "count", 1, kMostThreads)));
  return py::none();
}

/// Calls fill(stream, data, count) on a 1-D array of either precision.
template <class Fill>
void fill_with(const py::array& given, std::uint64_t seed, std::uint64_t index, Fill fill) {
  const py::array out = as_array(given, "out");
  with_precision_of(out, "out", [&]<class T>(T) {
    T* data = output_vector<T>(out, "out");
    const auto count = static_cast<std::int64_t>(out.shape(0));
    constexpr double kFlopsPerElement = 30.0;
    compute(static_cast<double>(count) * kFlopsPerElement,
            [&] { fill(RandomStream{seed, RandomPurpose::initialise, index}, data, count); });
  });
}

py::array shuffled(std::int64_t count, std::uint64_t seed, std::uint64_t epoch) {
  if (count < 0) throw py::value_error("count must be at least 0; got " + std::to_string(count));
  py::array rows = new_array<std::int64_t>(count);
  auto* data = static_cast<std::int64_t*>(rows.mutable_data());
  constexpr double kFlopsPerElement = 30.0;
  compute(static_cast<double>(count) * kFlopsPerElement, [&] { shuffled_rows(seed, epoch, data, count); });
  return rows;
}

}  // namespace

void register_runtime(py::module_& m) {
  define<kNothing, [](const Arguments<0>&) -> py::object { return show_config(); }>(
      m, "show_config",
      "Returns a dict that describes the build and the machine: version, compiler, thread_backend,\n"
      "num_threads, instruction_sets_built, instruction_sets_supported (by this processor) and\n"
      "instruction_set (in use).");
  define<kNothing, [](const Arguments<0>&) -> py::object { return py::int_(num_threads()); }>(
      m, "num_threads", "Returns the number of threads that a call may use.");
  define<kCount, bound_set_num_threads>(
      m, "set_num_threads",
      "Sets the number of threads that a call may use; results do not change.\n\n"
      "Raises ValueError unless count is from 1 to 1024.");
  m.def("use_instruction_set", &use_instruction_set, py::arg("name"),
        "Switches to another instruction set, for tests; results do not change. Must not be called while\n"
        "another thread computes. Raises ValueError if the name is unknown or the set is not supported.");

  m.def(
      "philox",
      [](std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
        const auto words = philox(counter, key);
        return py::make_tuple(words[0], words[1], words[2], words[3]);
      },
      py::arg("counter"), py::arg("key"),
      "Philox 4x32-10: four random 32-bit words from a counter of four words and a key of two.");
  m.def(
      "fill_uniform",
      [](const py::array& out, double low, double high, std::uint64_t seed, std::uint64_t index) {
        fill_with(out, seed, index, [&](RandomStream stream, auto* data, std::int64_t count) {
          fill_uniform(stream, low, high, data, count);
        });
      },
      py::arg("out"), py::arg("low"), py::arg("high"), py::arg("seed"), py::arg("index"),
      "Fills a contiguous 1-D array with uniform numbers in [low, high). Each is a function of seed, index\n"
      "and position.");
  m.def(
      "fill_normal",
      [](const py::array& out, double mean, double standard_deviation, std::uint64_t seed,
         std::uint64_t index) {
        fill_with(out, seed, index, [&](RandomStream stream, auto* data, std::int64_t count) {
          fill_normal(stream, mean, standard_deviation, data, count);
        });
      },
      py::arg("out"), py::arg("mean"), py::arg("standard_deviation"), py::arg("seed"), py::arg("index"),
      "Fills a contiguous 1-D array with normal numbers. Each is a function of seed, index and position.");
  m.def("shuffled_rows", &shuffled, py::arg("count"), py::arg("seed"), py::arg("epoch"),
        "Returns a random permutation of 0 .. count - 1 as int64, a function of seed and epoch.");

  m.def(
      "call_together",
      [](const py::list& functions) {
        for (const py::handle function : functions) function();
      },
      py::arg("functions"),
      "Calls functions written in C, passing no arguments. Python runs signal handlers, such as that of\n"
      "Ctrl-C, only between instructions of Python code, so none run between the first call and the last.");

  py::dict entries;
  entries["activations"] = activation_entries();
  entries["losses"] = loss_entries();
  entries["initializers"] = initializer_entries();
  entries["optimizers"] = optimizer_entries();
  m.attr("entries") = entries;
}

}  // namespace nncore::bindings
