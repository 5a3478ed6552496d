#include "launcher/commands/options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <charconv>

#include "launcher/text/printable.hpp"
#include "launcher/text/problem.hpp"

namespace launcher::commands {

namespace po = boost::program_options;

namespace {

constexpr const char* no_option = "(word)";  // what a command's words are to the library, which wants a name

std::string unknown(const std::string& given, const std::vector<OptionInfo>& known) {
  std::vector<std::string> names;
  for (const OptionInfo& one : known) names.push_back(fmt::format("--{}", one.name));
  return fmt::format("no option '{}'{}; --help lists them", printable(given), suggestion(given, names));
}

// With "--" behind the first word, after which all is taken as it is.
std::vector<std::string> first_word_ends_options(const std::vector<OptionInfo>& known, std::vector<std::string> args) {
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (args[i] == "--") return args;
    if (!args[i].starts_with("--")) {
      const auto next = args.begin() + static_cast<std::ptrdiff_t>(i) + 1;
      if (next == args.end() || *next != "--") args.insert(next, "--");
      return args;
    }
    const std::string_view name = std::string_view(args[i]).substr(2);
    if (std::ranges::any_of(known, [&](const OptionInfo& one) { return one.name == name && !one.value.empty(); })) ++i;
  }
  return args;
}

}  // namespace

std::string suggestion(std::string_view word, const std::vector<std::string>& known) {
  const std::string close = closest(word, known);
  return close.empty() ? "" : fmt::format("; did you mean '{}'?", close);
}

Options Options::parse(const std::vector<OptionInfo>& known, std::size_t words, const std::vector<std::string>& args,
                       bool rest) {
  po::options_description description;
  for (const OptionInfo& option : known) {
    const std::string names =
        option.letter == 0 ? std::string(option.name) : fmt::format("{},{}", option.name, option.letter);
    if (option.value.empty())
      description.add_options()(names.c_str(), "");
    else if (option.repeated)
      description.add_options()(names.c_str(), po::value<std::vector<std::string>>()->composing());
    else
      description.add_options()(names.c_str(), po::value<std::string>());
  }
  description.add_options()(no_option, po::value<std::vector<std::string>>());
  po::positional_options_description positional;
  positional.add(no_option, -1);
  Options result;
  try {
    const auto parsed = po::command_line_parser(rest ? first_word_ends_options(known, args) : args)
                            .options(description)
                            .positional(positional)
                            .style(po::command_line_style::unix_style & ~po::command_line_style::allow_guessing)
                            .run();
    for (const auto& option : parsed.options) {
      if (option.string_key == no_option || option.position_key >= 0)
        result.words_.insert(result.words_.end(), option.value.begin(), option.value.end());
      else {
        auto& values = result.values_[option.string_key];
        values.insert(values.end(), option.value.begin(), option.value.end());
      }
    }
  } catch (const po::unknown_option& error) {
    throw UsageError(unknown(error.get_option_name(), known));
  } catch (const po::error& error) {
    throw UsageError(error.what());
  }
  if (result.words_.size() > words) throw UsageError(fmt::format("'{}' is one word too many", result.words_[words]));
  for (const OptionInfo& option : known) {
    const auto given = result.values_.find(std::string(option.name));
    if (!option.repeated && given != result.values_.end() && given->second.size() > 1)
      throw UsageError(fmt::format("--{} was given more than once", option.name));
  }
  return result;
}

std::optional<std::string> Options::value(const std::string& name) const {
  const auto found = values_.find(name);
  if (found == values_.end() || found->second.empty()) return std::nullopt;
  return found->second.front();
}

std::vector<std::string> Options::all(const std::string& name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::vector<std::string>{} : found->second;
}

std::optional<double> Options::number(const std::string& name) const {
  const std::optional<std::string> text = value(name);
  if (!text) return std::nullopt;
  double number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc{} || end != text->data() + text->size() || !(number >= 0 && number <= 1e9))
    throw UsageError(fmt::format("--{} wants a number of seconds, not '{}'", name, *text));
  return number;
}

const std::string& Options::word(std::size_t index, const std::string& what) const {
  if (index >= words_.size()) throw UsageError("wanted " + what);
  return words_[index];
}

}  // namespace launcher::commands
