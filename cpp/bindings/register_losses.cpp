// Losses: a class for a kind and its parameters, and two functions on NumPy arrays for each entry.
#include <pybind11/stl.h>

#include <span>
#include <string>
#include <utility>

#include "arrays.hpp"
#include "calls.hpp"
#include "entries.hpp"
#include "functional.hpp"
#include "guards.hpp"
#include "register.hpp"

namespace nncore::bindings {

namespace {

// nncore.functional ------------------------------------------------------------------------------------

constexpr const char* kReductionNames[] = {"mean", "sum", "none"};

Reduction reduction_of(std::string_view text) {
  for (int i = 0; i < 3; ++i)
    if (text == kReductionNames[i]) return static_cast<Reduction>(i);
  refuse_name("reduction", text, py::make_tuple("mean", "sum", "none"));
}

/// The number of arguments: prediction, target, the parameters of the entry, sample_weight and reduction;
/// with the gradient also out and accumulate.
constexpr std::size_t argument_count(LossKind kind, bool with_gradient) {
  return 4 + parameter_count(entry_of(kind)) + (with_gradient ? 2 : 0);
}

template <LossKind kind, bool with_gradient>
Signature<argument_count(kind, with_gradient)> make_signature() {
  std::string text = "(prediction, target, *";
  text += parameters_text(entry_of(kind));
  text += ", sample_weight=None, reduction='mean'";
  if (with_gradient) text += ", out=None, accumulate=False";
  return Signature<argument_count(kind, with_gradient)>((new std::string(text + ")"))->c_str());
}

template <LossKind kind, bool with_gradient>
const Signature<argument_count(kind, with_gradient)> kLossSignature = make_signature<kind, with_gradient>();

/// Checks the arguments and computes the value and, if asked for, the gradient.
py::object run_loss(LossKind kind, std::span<PyObject* const> given, bool with_gradient) {
  const LossEntry& entry = entry_of(kind);
  const py::array prediction = as_array(given[0], "prediction"), target = as_array(given[1], "target");
  Loss loss(kind);
  read_parameters(loss, entry, given.data() + 2);
  validate(loss);
  const auto rest = given.subspan(2 + parameter_count(entry));
  const OptionalArray sample_weight = as_optional_array(rest[0], "sample_weight");
  const Reduction reduction = reduction_of(as_text(rest[1], "reduction", "mean"));
  const OptionalArray out = with_gradient ? as_optional_array(rest[2], "out") : std::nullopt;
  const bool accumulate = with_gradient && as_flag(rest[3], "accumulate");
  check_accumulate(accumulate, out.has_value());
  return with_precision_of(prediction, "prediction", [&]<class T>(T) -> py::object {
    const Matrix<const T> a = input_matrix<T>(prediction, "prediction", {Layout::contiguous_rows});
    const T* weights = nullptr;
    if (sample_weight) {
      weights = input_vector<T>(*sample_weight, "sample_weight", a.rows);
      bool is_any_positive = false;
      compute(static_cast<double>(a.rows), [&] {
        is_any_positive = check_sample_weight("sample_weight", table(weights, a.rows, 1), nullptr, 0, a.rows);
      });
      if (!is_any_positive)
        throw py::value_error("sample_weight must be positive for at least one sample; got 0 for all");
    }
    const LossTarget<T> y(loss, target, a, weights);
    OptionalArray values, result;
    if (reduction == Reduction::none) values = new_array<T>(a.rows);
    Matrix<T> gradient;
    if (with_gradient) {
      result = out ? *out : new_like<T>(prediction);
      gradient = output_matrix<T>(*result, "out", {Layout::contiguous_rows, a.rows, a.columns});
    }
    if (out) {
      check_no_overlap(*out, "out", prediction, "prediction", true);
      check_no_overlap(*out, "out", target, "target");
      if (sample_weight) check_no_overlap(*out, "out", *sample_weight, "sample_weight");
    }
    T* const each = values ? static_cast<T*>(values->mutable_data()) : nullptr;
    const double sum = compute(elementwise_flops(prediction), [&] {
      return loss_and_gradient<T>(loss, a, y.target, weights, reduction, each, gradient, 1.0, accumulate);
    });
    const py::object value = values ? py::object(*values) : py::float_(sum);
    return with_gradient ? py::object(py::make_tuple(value, *result)) : value;
  });
}

template <LossKind kind, bool with_gradient>
py::object call_loss(const Arguments<argument_count(kind, with_gradient)>& arguments) {
  return run_loss(kind, arguments, with_gradient);
}

/// The description of the arguments in the docstrings of both functions.
std::string argument_text(const LossEntry& entry) {
  std::string text = "\n\nprediction: (B, O) with contiguous rows";
  if (entry.target_features == same_features)
    text += ". target: (B, O) of the same dtype";
  else
    text += std::string(" and ") + entry.outputs + ".\ntarget: (B, K) of the same dtype";
  if (entry.takes_labels) text += ", or labels (B,) or (B, 1) of any\ninteger dtype, each in [0, O)";
  if (entry.targets) text += std::string(", each ") + entry.targets->text;
  for (std::size_t i = 0; i < parameter_count(entry); ++i) {
    const auto& parameter = entry.parameters[i];
    text += std::string(".\n") + parameter.name + ": " + parameter.meaning + ",\n" + parameter.range.text;
    if (parameter.is_vector) text += ", or a sequence of one for each column of the target";
  }
  return text +
         ".\nsample_weight w: (B,), finite and at least 0, or None for ones. reduction: \"mean\" for\n"
         "sum w l / sum w, \"sum\" for sum w l, or \"none\" for an array (B,) of each w l.";
}

template <LossKind kind>
void register_loss(py::module_& m) {
  constexpr const LossEntry& entry = entry_of(kind);
  const std::string arguments = argument_text(entry), name = entry.name;
  define<kLossSignature<kind, false>, call_loss<kind, false>>(
      m, name, name + ", for one sample: l = " + entry.value + "." + arguments + kArrayRules);
  define<kLossSignature<kind, true>, call_loss<kind, true>>(
      m, name + "_and_gradient",
      name + " and its gradient with respect to the prediction, for one sample: " + entry.gradient +
          ".\n\nReturns (value, gradient)." + arguments +
          "\nout: the gradient, (B, O) with contiguous rows; may be prediction itself. accumulate: add to\n"
          "out instead of replacing it. With reduction=\"none\" the gradient is that of the sum." +
          kArrayRules);
}

template <std::size_t... i>
void register_functions(py::module_& m, std::index_sequence<i...>) {
  (register_loss<static_cast<LossKind>(i)>(m), ...);
}

}  // namespace

py::list loss_entries() {
  return describe_entries(kLosses, [](py::dict& described, const LossEntry& entry) {
    py::list kinks;
    for (const std::optional<Kink>& kink : entry.kinks) {
      if (!kink) continue;
      py::object parameter = py::none();
      for (std::size_t i = 0; i < parameter_count(entry); ++i)
        if (entry.parameters[i].field == kink->parameter) parameter = py::str(entry.parameters[i].name);
      kinks.append(py::make_tuple(kink->factor, parameter));
    }
    const auto& fused = entry.fused;
    described["alias"] = entry.alias;
    described["takes_labels"] = entry.takes_labels;
    described["same_features"] = entry.target_features == same_features;
    described["targets"] = entry.targets ? py::object(describe_range(*entry.targets)) : py::none();
    described["least_outputs"] = entry.least_outputs;
    described["outputs"] = entry.outputs;
    described["activation"] = fused ? py::object(py::str(entry_of(fused->activation.kind).name)) : py::none();
    described["from_logits"] = fused ? py::object(py::str(entry_of(fused->from_logits).name)) : py::none();
    described["by_row"] = entry.by_row;
    described["averages_columns"] = entry.averages_columns;
    described["kinks"] = kinks;
    described["accuracy"] = kAccuracyNames[static_cast<int>(entry.accuracy)];
    described["value"] = entry.value;
    described["gradient"] = entry.gradient;
  });
}

void register_losses(py::module_& m) {
  py::class_<Loss>(m, "Loss", "A kind of loss, by its name or alias, with its parameters by name.")
      .def(py::init([](std::string_view kind, const py::kwargs& parameters) {
             return make_owner<Loss>(kLosses, "loss", kind, parameters);
           }),
           py::arg("kind"))
      .def_property_readonly("kind", [](const Loss& loss) { return entry_of(loss.kind).name; })
      .def_property_readonly("parameters", &parameters_of<Loss>,
                             "All parameters by name, as floats or tuples of floats.")
      .def(
          "target_features",
          [](const Loss& loss, std::int64_t output_features) {
            return target_width(loss, "output", output_features);
          },
          py::arg("output_features"),
          "The width of the target for an output of that width. Raises ValueError if the loss cannot take "
          "it.");
  register_functions(m, std::make_index_sequence<kLossCount>());
}

}  // namespace nncore::bindings
