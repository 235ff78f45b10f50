// Activations A = f(Z) and their derivatives.
#pragma once

#include <cstdint>

#include "nncore/entries.hpp"
#include "nncore/matrix.hpp"

namespace nncore {

enum class ActivationKind {
  identity,
  sigmoid,
  tanh,
  relu,
  softmax,
  log_softmax,
  leaky_relu,
  gelu,
  silu,
  softsign
};

/// An activation: its kind and parameters. Parameters that the kind does not use are 0.
struct Activation {
  ActivationKind kind = ActivationKind::identity;
  double negative_slope = 0.0;  ///< of leaky_relu
  double approximate = 0.0;     ///< of gelu: 0 for "none", 1 for "tanh"
  int order = 0;                ///< 0 for f, n for its n-th derivative; less than the entry's `orders`

  constexpr Activation() = default;
  /// Sets the parameters to the defaults of the kind's entry.
  constexpr Activation(ActivationKind kind);  // NOLINT(google-explicit-constructor)
  bool operator==(const Activation&) const = default;
};

/// What the derivative f' is computed from.
enum class DerivativeReads {
  output,  ///< A = f(Z); Z need not be kept
  input    ///< Z
};

/// What the library knows about one activation.
struct ActivationEntry {
  ActivationKind kind;
  const char* name;        ///< used in C++, Python, files and documentation
  const char* class_name;  ///< the Python layer
  Parameter<Activation> parameters[2] = {};
  bool is_elementwise = true;  ///< false if each output depends on the whole row
  DerivativeReads derivative_reads = DerivativeReads::output;
  int orders = 1;                ///< the number of valid orders; 3 if f, f' and f'' are all activations
  std::int64_t grain = 1 << 14;  ///< arrays of at most this many elements are processed by one thread
  bool has_kink = false;         ///< true if f' jumps at 0
  const char* summary;           ///< docstring of the Python layer
  const char* formula;           ///< a = f(z)
  const char* derivative;        ///< f', or grad_z if the activation works on rows
};

/// One entry for each kind, in the order of ActivationKind.

inline constexpr ActivationEntry kActivations[] = {
    {.kind = ActivationKind::identity,
     .name = "identity",
     .class_name = "Identity",
     .grain = 1 << 16,
     .summary = "a = z.",
     .formula = "a = z",
     .derivative = "f' = 1"},
    {.kind = ActivationKind::sigmoid,
     .name = "sigmoid",
     .class_name = "Sigmoid",
     .orders = 3,
     .summary = "a = 1 / (1 + e^-z), in (0, 1).",
     .formula = "a = 1 / (1 + exp(-z))",
     .derivative = "f' = a (1 - a)"},
    {.kind = ActivationKind::tanh,
     .name = "tanh",
     .class_name = "Tanh",
     .orders = 3,
     .summary = "a = tanh z, in (-1, 1).",
     .formula = "a = tanh(z)",
     .derivative = "f' = 1 - a^2"},
    {.kind = ActivationKind::relu,
     .name = "relu",
     .class_name = "ReLU",
     .grain = 1 << 16,
     .has_kink = true,
     .summary = "a = max(z, 0); its derivative at 0 is 0.",
     .formula = "a = max(z, 0); NaN stays NaN",
     .derivative = "f' = 1 where a > 0, else 0"},
    {.kind = ActivationKind::softmax,
     .name = "softmax",
     .class_name = "Softmax",
     .is_elementwise = false,
     .summary = "a_k = e^z_k / sum of e^z over the row: probabilities that sum to 1.",
     .formula = "a_i = exp(z_i) / sum_k exp(z_k), over each row",
     .derivative = "grad_z_i = a_i (g_i - sum_k g_k a_k)"},
    {.kind = ActivationKind::log_softmax,
     .name = "log_softmax",
     .class_name = "LogSoftmax",
     .is_elementwise = false,
     .summary = "a_k = z_k - log of the sum of e^z over the row: the logarithms of softmax.",
     .formula = "a_i = z_i - log sum_k exp(z_k), over each row",
     .derivative = "grad_z_i = g_i - exp(a_i) sum_k g_k"},
    {.kind = ActivationKind::leaky_relu,
     .name = "leaky_relu",
     .class_name = "LeakyReLU",
     .parameters = {{"negative_slope", &Activation::negative_slope, 0.01, kNotNegative,
                     "the slope for negative z"}},
     .grain = 1 << 16,
     .has_kink = true,
     .summary = "a = z where z > 0, else negative_slope z (Maas et al. 2013).",
     .formula = "a = z where z > 0, else negative_slope z",
     .derivative = "f' = 1 where a > 0, else negative_slope"},
    {.kind = ActivationKind::gelu,
     .name = "gelu",
     .class_name = "GELU",
     .parameters = {{"approximate", &Activation::approximate, 0.0, kChoice,
                     "\"none\": the exact normal distribution; \"tanh\": its tanh approximation",
                     "none|tanh"}},
     .derivative_reads = DerivativeReads::input,
     .orders = 3,
     .summary = "a = z P(z), P the standard normal distribution (Hendrycks and Gimpel 2016).",
     .formula = "a = z P(z) with P(z) = (1 + erf(z / sqrt(2))) / 2; approximate = \"tanh\": "
                "P(z) = (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2",
     .derivative = "f' = P(z) + z P'(z)"},
    {.kind = ActivationKind::silu,
     .name = "silu",
     .class_name = "SiLU",
     .derivative_reads = DerivativeReads::input,
     .orders = 3,
     .summary = "a = z / (1 + e^-z), also called swish (Elfwing et al. 2018).",
     .formula = "a = z s with s = 1 / (1 + exp(-z))",
     .derivative = "f' = s (1 + z (1 - s))"},
    {.kind = ActivationKind::softsign,
     .name = "softsign",
     .class_name = "Softsign",
     .summary = "a = z / (1 + |z|), in (-1, 1).",
     .formula = "a = z / (1 + |z|)",
     .derivative = "f' = (1 - |a|)^2"},
};
static_assert(is_in_order(kActivations));
inline constexpr int kActivationCount = static_cast<int>(std::size(kActivations));

/// The entry of a kind.
constexpr const ActivationEntry& entry_of(ActivationKind kind) {
  return kActivations[static_cast<std::size_t>(kind)];
}

/// Whether the derivative is computed from the input z rather than from the output a.
constexpr bool reads_input(ActivationKind kind, int order) {
  return order > 0 || entry_of(kind).derivative_reads == DerivativeReads::input;
}
constexpr bool reads_input(const Activation& activation) {
  return reads_input(activation.kind, activation.order);
}

constexpr Activation::Activation(ActivationKind kind_) : kind(kind_) {
  for (const Parameter<Activation>& parameter : entry_of(kind_).parameters)
    if (parameter.name != nullptr) this->*parameter.field = parameter.initial;
}

/// Throws std::invalid_argument if a parameter is out of range or the kind has no such order.
void validate(const Activation& activation);

/// Computes output = f(input), row by row for softmax and log_softmax.
///
/// Both matrices are (B, O) with contiguous rows; `output` may be `input` itself. NaN maps to NaN, and an
/// infinity to the limit of f. Throws std::invalid_argument if the shapes differ or rows are not contiguous.
template <class T>
void activation_forward(const Activation& activation, Matrix<const T> input, Matrix<T> output);

/// Computes grad_input = grad_output * f'(Z) elementwise, or the product with the full Jacobian for softmax
/// and log_softmax.
///
/// All matrices are (B, O) with contiguous rows. `kept` is A = f(Z) or Z, as reads_input(activation) tells.
/// `accumulate` adds to grad_input instead of replacing it. grad_input may be grad_output itself. Throws
/// std::invalid_argument if the shapes differ or rows are not contiguous.
template <class T>
void activation_backward(const Activation& activation, Matrix<const T> grad_output, Matrix<const T> kept,
                         Matrix<T> grad_input, bool accumulate = false);

}  // namespace nncore
