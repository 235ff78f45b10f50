// nncore.functional: one function per formula on NumPy arrays, without copies and with out=. Each entry of a
// table becomes a function and its gradient, with docstrings made from the entry.
#include <string>
#include <utility>

#include "arrays.hpp"
#include "calls.hpp"
#include "entries.hpp"
#include "functional.hpp"
#include "guards.hpp"
#include "kernels/table.hpp"
#include "nncore/activations.hpp"
#include "nncore/dense.hpp"
#include "register.hpp"

namespace nncore::bindings {
namespace {

// Elementary functions and activations ---------------------------------------------------------------

/// out = operation(input) for arrays of the same shape; out may be the input itself.
template <class Operation>
py::object map_array(const char* argument, const Arguments<2>& arguments, Layout layout,
                     Operation operation) {
  const py::array z = as_array(arguments[0], argument);
  const OptionalArray out = as_optional_array(arguments[1], "out");
  return with_precision_of(z, argument, [&]<class T>(T) -> py::object {
    const Matrix<const T> input = input_matrix<T>(z, argument, {layout});
    if (out) check_same_shape(*out, "out", z, argument);
    py::array result = out ? *out : new_like<T>(z);
    const Matrix<T> output = output_matrix<T>(result, "out", {layout});
    if (out) check_no_overlap(result, "out", z, argument, true);
    compute(elementwise_flops(z), [&] { operation(input, output); });
    return result;
  });
}

constexpr Signature<2> kElementary("(x, *, out=None)");

/// Applies an elementwise kernel of the library row by row.
template <auto select>
py::object elementary(const Arguments<2>& arguments) {
  return map_array("x", arguments, Layout::rows_or_vector,
                   []<class T>(Matrix<const T> input, Matrix<T> output) {
                     const auto kernel = select(kernels::active<T>());
                     for (std::int64_t i = 0; i < input.rows; ++i)
                       kernel(&input(i, 0), &output(i, 0), input.columns);
                   });
}

// Each activation becomes two functions. Its parameters are keyword arguments after these.
constexpr std::size_t kMostParameters = std::size(ActivationEntry{}.parameters);
constexpr std::size_t kForward = 2, kBackward = 4;

Layout layout_of(const ActivationEntry& entry) {
  return entry.is_elementwise ? Layout::rows_or_vector : Layout::contiguous_rows;
}

Activation read_activation(const ActivationEntry& entry, PyObject* const* parameters) {
  Activation activation(entry.kind);
  read_parameters(activation, entry, parameters);
  validate(activation);
  return activation;
}

py::object forward(const ActivationEntry& entry, const Arguments<kForward + kMostParameters>& arguments) {
  const Activation activation = read_activation(entry, arguments.data() + kForward);
  return map_array("z", {arguments[0], arguments[1]}, layout_of(entry),
                   [&activation]<class T>(Matrix<const T> input, Matrix<T> output) {
                     activation_forward<T>(activation, input, output);
                   });
}

/// The name of the argument from which the derivative is computed.
const char* kept_name(const ActivationEntry& entry) {
  return entry.derivative_reads == DerivativeReads::input ? "z" : "output";
}

py::object backward(const ActivationEntry& entry, const Arguments<kBackward + kMostParameters>& arguments) {
  const char* const name = kept_name(entry);
  const py::array grad_output = as_array(arguments[0], "grad_output");
  const py::array kept = as_array(arguments[1], name);
  const OptionalArray out = as_optional_array(arguments[2], "out");
  const bool accumulate = as_flag(arguments[3], "accumulate");
  const Activation activation = read_activation(entry, arguments.data() + kBackward);
  check_accumulate(accumulate, out.has_value());
  return with_precision_of(grad_output, "grad_output", [&]<class T>(T) -> py::object {
    const Wanted wanted{layout_of(entry)};
    const Matrix<const T> gradient = input_matrix<T>(grad_output, "grad_output", wanted);
    const Matrix<const T> values = input_matrix<T>(kept, name, wanted);
    check_same_shape(kept, name, grad_output, "grad_output");
    if (out) check_same_shape(*out, "out", grad_output, "grad_output");
    py::array result = out ? *out : new_like<T>(grad_output);
    const Matrix<T> grad_input = output_matrix<T>(result, "out", wanted);
    if (out) check_no_overlap(result, "out", grad_output, "grad_output", true);
    if (out) check_no_overlap(result, "out", kept, name);
    compute(elementwise_flops(kept),
            [&] { activation_backward<T>(activation, gradient, values, grad_input, accumulate); });
    return result;
  });
}

/// ". negative_slope: the slope for negative z" for each parameter.
std::string meanings_text(const ActivationEntry& entry) {
  std::string text;
  for (std::size_t i = 0; i < parameter_count(entry); ++i)
    text += std::string(". ") + entry.parameters[i].name + ": " + entry.parameters[i].meaning;
  return text;
}

// CPython's calling convention passes no data to a function, so each entry gets functions of its own.

template <ActivationKind kind>
struct ActivationFunctions {
  static constexpr const ActivationEntry& entry = entry_of(kind);
  static inline const std::string forward_text = "(z, *, out=None" + parameters_text(entry) + ")";
  static inline const std::string backward_text = std::string("(grad_output, ") + kept_name(entry) +
                                                  ", *, out=None, accumulate=False" + parameters_text(entry) +
                                                  ")";
  static inline const Signature<kForward + kMostParameters> forward_signature{forward_text.c_str()};
  static inline const Signature<kBackward + kMostParameters> backward_signature{backward_text.c_str()};

  static py::object call_forward(const Arguments<kForward + kMostParameters>& arguments) {
    return forward(entry, arguments);
  }
  static py::object call_backward(const Arguments<kBackward + kMostParameters>& arguments) {
    return backward(entry, arguments);
  }

  static void define_both(py::module_& m) {
    const std::string name = entry.name, kept = kept_name(entry);
    const std::string shape =
        entry.is_elementwise ? "(B, O) with contiguous rows, or (N,)" : "(B, O) with contiguous rows";
    define<forward_signature, &call_forward>(m, name,
                                             name + ": " + entry.formula + ".\n\nz: " + shape +
                                                 ". out: of the same shape; may be z itself" +
                                                 meanings_text(entry) + "." + kArrayRules);
    define<backward_signature, &call_backward>(
        m, name + "_backward",
        "The gradient of " + name + " with respect to z, from g = grad_output and " +
            (kept == "z" ? "z" : "a = output") + ": " + entry.derivative +
            (entry.is_elementwise ? ", grad_z = g f'" : "") + ".\n\ngrad_output, " + kept + ": " + shape +
            ". out: of the same shape; may be grad_output itself. accumulate:\n"
            "add to out instead of replacing it" +
            meanings_text(entry) + "." + kArrayRules);
  }
};

template <std::size_t... i>
void register_activations(py::module_& m, std::index_sequence<i...>) {
  (ActivationFunctions<static_cast<ActivationKind>(i)>::define_both(m), ...);
}

template <auto select>
void register_elementary(py::module_& m, const std::string& function) {
  define<kElementary, elementary<select>>(
      m, function,
      function +
          "(x) elementwise, with the same bits on every machine.\n\n"
          "x: (B, O) with contiguous rows, or (N,). out: of the same shape; may be x itself." +
          kArrayRules);
}

// The dense layer --------------------------------------------------------------------------------------

constexpr Signature<5> kDenseForward("(x, weight, bias=None, *, activation='identity', out=None)");

py::object bound_dense_forward(const Arguments<5>& arguments) {
  const py::array x = as_array(arguments[0], "x"), weight = as_array(arguments[1], "weight");
  const OptionalArray bias = as_optional_array(arguments[2], "bias");
  const Activation activation =
      entry_named(kActivations, "activation", as_text(arguments[3], "activation", "identity")).kind;
  const OptionalArray out = as_optional_array(arguments[4], "out");
  return with_precision_of(x, "x", [&]<class T>(T) -> py::object {
    const Matrix<const T> inputs = input_matrix<T>(x, "x");
    const Matrix<const T> w = input_matrix<T>(weight, "weight", {.columns = inputs.columns});
    const T* b = bias ? input_vector<T>(*bias, "bias", w.rows) : nullptr;
    py::array result = out ? *out : new_array<T>(inputs.rows, w.rows);
    const Matrix<T> output = output_matrix<T>(result, "out", {Layout::contiguous_rows, inputs.rows, w.rows});
    if (out) {
      check_no_overlap(result, "out", x, "x");
      check_no_overlap(result, "out", weight, "weight");
      if (bias) check_no_overlap(result, "out", *bias, "bias");
    }
    const double flops = 2.0 * static_cast<double>(inputs.rows) * static_cast<double>(weight.size());
    compute(flops, [&] { dense_forward<T>(inputs, w, b, output, activation); });
    return result;
  });
}

/// The three arrays of out; nothing if it is not given.
std::optional<py::tuple> gradients_of(py::handle out) {
  if (!is_given(out)) return std::nullopt;
  if (!PyTuple_Check(out.ptr()))
    throw py::type_error("out must be a tuple of three arrays; got " + described(out));
  auto arrays = py::reinterpret_borrow<py::tuple>(out);
  if (arrays.size() != 3)
    throw py::value_error("out must hold three arrays (grad_x, grad_weight, grad_bias); got " +
                          std::to_string(arrays.size()));
  return arrays;
}

constexpr Signature<5> kDenseBackward("(grad_output, x, weight, *, out=None, accumulate=False)");

py::object bound_dense_backward(const Arguments<5>& arguments) {
  const py::array grad_output = as_array(arguments[0], "grad_output");
  const py::array x = as_array(arguments[1], "x"), weight = as_array(arguments[2], "weight");
  const std::optional<py::tuple> out = gradients_of(arguments[3]);
  const bool accumulate = as_flag(arguments[4], "accumulate");
  check_accumulate(accumulate, out.has_value());
  return with_precision_of(grad_output, "grad_output", [&]<class T>(T) -> py::object {
    const Matrix<const T> delta = input_matrix<T>(grad_output, "grad_output");
    const Matrix<const T> inputs = input_matrix<T>(x, "x", {.rows = delta.rows});
    const Matrix<const T> w =
        input_matrix<T>(weight, "weight", {.rows = delta.columns, .columns = inputs.columns});
    const py::tuple result = out ? *out
                                 : py::make_tuple(new_array<T>(inputs.rows, inputs.columns),
                                                  new_array<T>(w.rows, w.columns), new_array<T>(w.rows));
    const py::array arrays[3] = {as_array(result[0], {"out", 0}), as_array(result[1], {"out", 1}),
                                 as_array(result[2], {"out", 2})};
    const Matrix<T> grad_x =
        output_matrix<T>(arrays[0], {"out", 0}, {.rows = inputs.rows, .columns = inputs.columns});
    const Matrix<T> grad_weight =
        output_matrix<T>(arrays[1], {"out", 1}, {.rows = w.rows, .columns = w.columns});
    T* grad_bias = output_vector<T>(arrays[2], {"out", 2}, w.rows);
    for (py::ssize_t i = 0; out && i < 3; ++i) {
      check_no_overlap(arrays[i], {"out", i}, grad_output, "grad_output");
      check_no_overlap(arrays[i], {"out", i}, x, "x");
      check_no_overlap(arrays[i], {"out", i}, weight, "weight");
      for (py::ssize_t j = 0; j < i; ++j) check_no_overlap(arrays[i], {"out", i}, arrays[j], {"out", j});
    }
    const double flops = 4.0 * static_cast<double>(delta.rows) * static_cast<double>(weight.size());
    compute(flops, [&] { dense_backward<T>(delta, inputs, w, grad_x, grad_weight, grad_bias, accumulate); });
    return result;
  });
}

void register_dense(py::module_& m) {
  define<kDenseForward, bound_dense_forward>(
      m, "dense_forward",
      std::string(
          "dense_forward: f(x weight^T + bias), with f the activation.\n\n"
          "x: (B, I). weight: (O, I). bias: (O,) or None. out: (B, O) with contiguous rows. Matrices\n"
          "are in C or F order with any leading dimension.") +
          kArrayRules);
  define<kDenseBackward, bound_dense_backward>(
      m, "dense_backward",
      std::string(
          "dense_backward: the gradients of a dense layer from grad_output = dL/dz.\n\n"
          "grad_x = grad_output weight; grad_weight = grad_output^T x; grad_bias = the sum over the batch.\n"
          "grad_output: (B, O). x: (B, I). weight: (O, I). Returns (grad_x, grad_weight, grad_bias) with\n"
          "the shapes of x, weight and bias. out: a tuple of three such arrays, which is returned.\n"
          "accumulate: add to out instead of replacing it. Matrices are in C or F order with any leading\n"
          "dimension.") +
          kArrayRules);
}

}  // namespace

py::list activation_entries() {
  return describe_entries(kActivations, [](py::dict& described, const ActivationEntry& entry) {
    described["is_elementwise"] = entry.is_elementwise;
    described["derivative_reads"] = entry.derivative_reads == DerivativeReads::input ? "input" : "output";
    described["orders"] = entry.orders;
    described["has_kink"] = entry.has_kink;
    described["formula"] = entry.formula;
    described["derivative"] = entry.derivative;
  });
}

void register_functional(py::module_& m) {
  m.def(
      "check_activation",
      [](const std::string& kind, const py::kwargs& parameters) {
        make_owner<Activation>(kActivations, "activation", kind, parameters);
      },
      py::arg("kind"), "Raises TypeError or ValueError if the parameters do not fit the activation.");
  register_elementary<[](const auto& kernels) { return kernels.exp; }>(m, "exp");
  register_elementary<[](const auto& kernels) { return kernels.log; }>(m, "log");
  register_activations(m, std::make_index_sequence<kActivationCount>());
  register_dense(m);
}

}  // namespace nncore::bindings
