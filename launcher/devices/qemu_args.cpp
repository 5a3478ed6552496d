// Quoting for QEMU and for a shell, and the list itself.
#include "launcher/devices/qemu_args.hpp"

#include <fmt/format.h>

#include <boost/json/serialize.hpp>

#include "launcher/devices/device_context.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline devices {

std::string Opts::quote(std::string_view value) {
  std::string out;
  for (char c : value) {
    out += c;
    if (c == ',') out += ',';
  }
  return out;
}

Opts& Opts::set(std::string_view key, std::string_view value) {
  if (!text_.empty()) text_ += ',';
  text_ += key;
  text_ += '=';
  text_ += quote(value);
  return *this;
}

void QemuArgs::add(std::string option, std::string why, std::string origin) {
  args_.push_back({std::move(option), "", std::move(why), std::move(origin)});
}

void QemuArgs::add(std::string option, const Opts& opts, std::string why, std::string origin) {
  args_.push_back({std::move(option), opts.text(), std::move(why), std::move(origin)});
}

void QemuArgs::add(std::string option, const boost::json::object& json, std::string why, std::string origin) {
  args_.push_back({std::move(option), boost::json::serialize(json), std::move(why), std::move(origin)});
}

void QemuArgs::add_extra(std::string argument) {
  args_.push_back({std::move(argument), "", "given as it is, not checked", "extra_args"});
}

std::vector<std::string> QemuArgs::argv(const std::string& binary) const { return argv_of(binary, args_); }

std::vector<std::string> argv_of(const std::string& binary, const std::vector<Arg>& args) {
  std::vector<std::string> argv{binary};
  for (const Arg& arg : args) {
    argv.push_back(arg.option);
    if (!arg.value.empty()) argv.push_back(arg.value);
  }
  return argv;
}

namespace {

// What a terminal would obey stands as printf's octal: the line can be looked at, and still gives the same words.
std::string sh_quote(const std::string& word) {
  const std::string plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%";
  if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) return word;
  std::string out = "'";
  for (std::string_view rest = word; !rest.empty();) {
    const CodePoint point = decode_utf8(rest);
    const std::string_view bytes = rest.substr(0, point.bytes);
    rest.remove_prefix(point.bytes);
    if (bytes == "'") {
      out += "'\\''";
    } else if (bytes == "\n" || bytes == "\t" || (point.valid && !is_control(point.value))) {
      out += bytes;
    } else {
      out += "'\"$(printf '";
      for (const char byte : bytes) out += fmt::format("\\{:03o}", static_cast<unsigned char>(byte));
      out += "')\"'";
    }
  }
  return out + "'";
}

}  // namespace

std::string shell_line(const std::vector<std::string>& argv) {
  std::string out;
  for (std::size_t i = 0; i < argv.size(); ++i) {
    const bool option = i > 0 && argv[i].starts_with('-');
    if (i > 0) out += option ? " \\\n  " : " ";
    out += sh_quote(argv[i]);
  }
  return out + "\n";
}

int FdPlan::take(std::string purpose) {
  constexpr int first = 10;
  const int fd = first + static_cast<int>(fds_.size());
  fds_.push_back({fd, std::move(purpose)});
  return fd;
}

}  // namespace launcher::devices
