// `vmrun enable` and `vmrun disable`: a spec, wherever it lies, as the unit vmrun@NAME. The rule: what they write is one drop-in, which
// says where the spec is and which mounts it needs; the rest is systemctl's.
#include <fmt/format.h>

#include <boost/json/parse.hpp>
#include <filesystem>
#include <set>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/host/user_command.hpp"
#include "launcher/steps/records.hpp"

namespace launcher::commands {

namespace fs = std::filesystem;

namespace {

// "disk[0].path": "disk[].path"
std::string without_index(const std::string& key) {
  const std::size_t open = key.find('['), close = key.find(']');
  return open == key.npos || close == key.npos ? key : key.substr(0, open + 1) + key.substr(close);
}

// A word of a unit file, of no command: '%' and quotes stand for themselves.
std::string unit_word(const std::string& text) {
  std::string word = "\"";
  for (const char c : text) {
    if (c == '%') word += c;
    if (c == '"' || c == '\\') word += '\\';
    word += c;
  }
  return word + "\"";
}

// What the VM's files need mounted: those that the spec names, and the spec.
std::set<std::string> mounted_paths(const SpecFile& file, const std::string& spec) {
  const std::vector<KeyInfo> keys = spec_keys();
  std::set<std::string> known, paths{spec};
  for (const KeyInfo& key : keys)
    if (key.is_path) known.insert(key.path);
  for (const auto& [key, value] : file.document.values(keys)) {
    boost::system::error_code error;
    const boost::json::value text = boost::json::parse(value, error);
    if (error || !text.is_string() || !known.contains(without_index(key))) continue;
    const fs::path path = std::string(text.get_string());
    const std::string first = path.is_absolute() ? std::next(path.begin())->string() : "";
    if (!first.empty() && first != "dev" && first != "proc" && first != "sys" && first != "run") paths.insert(path);
  }
  return paths;
}

std::string drop_in(const SpecFile& file, const std::string& spec) {
  std::string text = "# By `vmrun enable`; `vmrun disable` removes it.\n[Unit]\n";
  for (const std::string& path : mounted_paths(file, spec))
    text += fmt::format("RequiresMountsFor={}\n", unit_word(path));
  return text + fmt::format("[Service]\nEnvironment={}\n", unit_word("VMRUN_SPEC=" + spec));
}

void systemctl(const Options& options, std::vector<std::string> words) {
  words.insert(words.begin(), "systemctl");
  if (const auto root = options.value("root")) words.insert(words.begin() + 1, "--root=" + *root);
  if (const int code = UserCommand(words, true).wait(); code != 0)
    throw std::runtime_error(fmt::format("{} {} ended with exit code {}", words[0], words.back(), code));
}

fs::path directory_of(const Options& options, const std::string& unit) {
  return fs::path(options.value("root").value_or("/")) / "etc/systemd/system" / (unit + ".d");
}

void reload(const Options& options) {
  if (!options.value("root")) systemctl(options, {"daemon-reload"});
}

}  // namespace

int enable(const Options& options) {
  const std::optional<SpecFile> file = read_spec_or_print(options);
  if (!file) return problems;
  const std::string spec = fs::absolute(file->document.file()).lexically_normal(),
                    unit = "vmrun@" + file->spec.name + ".service";
  if (spec.find('\n') != spec.npos) throw UsageError("no unit can name a file with a line break in its name");
  const fs::path directory = directory_of(options, unit);
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) throw std::runtime_error(fmt::format("{} cannot be made: {}", directory.string(), error.message()));
  records::replace(directory / "vmrun.conf", drop_in(*file, spec));
  reload(options);
  systemctl(options, {"enable", unit});
  say(fmt::format("{} starts {} with this host; now: systemctl start {}", unit, spec, unit));
  return done;
}

int disable(const Options& options) {
  std::string name = options.word(0, "a VM's name, or its spec");
  if (name.find('/') != name.npos || name.ends_with(".toml")) {
    const std::optional<SpecFile> file = read_spec_or_print(options);
    if (!file) return problems;
    name = file->spec.name;
  }
  const std::string unit = "vmrun@" + name + ".service";
  systemctl(options, {"disable", unit});
  const fs::path directory = directory_of(options, unit);
  std::error_code error;
  fs::remove(directory / "vmrun.conf", error);
  if (error)
    throw std::runtime_error(
        fmt::format("{} cannot be removed: {}", (directory / "vmrun.conf").string(), error.message()));
  fs::remove(directory, error);  // others may have a file in it
  reload(options);
  say(fmt::format("{} does not start with this host any more", unit));
  return done;
}

}  // namespace launcher::commands
