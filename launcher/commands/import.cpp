// `vmrun import`: a spec from a libvirt domain or a QEMU command line, and what became of each of its parts. The rule: the domain stays as it is, nothing that is
// there already is written over, and a spec that would lose data is not written at all.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/host/fd.hpp"
#include "launcher/host/filter.hpp"
#include "launcher/host/linux_host.hpp"
#include "launcher/host/process.hpp"
#include "launcher/import/argv.hpp"
#include "launcher/import/walk.hpp"
#include "launcher/plan/kept_state.hpp"
#include "launcher/text/printable.hpp"
#include "topology/text_file.hpp"

namespace launcher::commands {

namespace {

namespace fs = std::filesystem;

std::string read_all(int fd, const std::string& name) {
  std::string text;
  std::array<char, 65536> part{};
  ssize_t got = 0;
  while (text.size() <= most_xml && ((got = read(fd, part.data(), part.size())) > 0 || (got < 0 && errno == EINTR)))
    if (got > 0) text.append(part.data(), static_cast<std::size_t>(got));
  if (got < 0) throw std::system_error(errno, std::generic_category(), "read " + name);
  return text;
}

// virsh with these words, in an environment that finds the same libvirt.
Said virsh(std::vector<std::string> words) {
  const auto program = find_program("virsh");
  if (!program)
    throw UsageError("there is no virsh here (Debian: libvirt-clients); give a file of `virsh dumpxml` instead");
  ChildSpec child;
  child.argv = {*program};
  child.argv.insert(child.argv.end(), words.begin(), words.end());
  for (const char* name :
       {"LIBVIRT_DEFAULT_URI", "VIRSH_DEFAULT_CONNECT_URI", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "HOME"})
    if (const char* value = std::getenv(name)) child.environment.push_back(std::string(name) + "=" + value);
  return run_quietly(child);
}

std::string network_of_virsh(const std::string& network) {
  const Said said = virsh({"net-dumpxml", "--inactive", "--network", network});
  return said.code == 0 ? said.out : std::string();
}

std::string domain_of_virsh(const std::string& from, bool adopts) {
  if (!from.starts_with("virsh:") || from.size() == 6) throw UsageError("--from wants virsh:NAME");
  const std::string name = from.substr(6);
  const Said state = virsh({"domstate", "--domain", name});
  if (adopts && state.code == 0 && !state.out.starts_with("shut off"))
    throw UsageError(
        fmt::format("domain {} is not shut off, so that what it keeps is not at rest: virsh shutdown {} first",
                    printable(name), printable(name)));
  const Said said = virsh({"dumpxml", "--inactive", "--domain", name});
  if (said.code != 0) throw UsageError("virsh dumpxml: " + printable_message(said.err));
  return said.out;
}

std::string text_of_word(const std::string& word) {
  if (word == "-") return read_all(STDIN_FILENO, "standard input");
  auto text = topology::read_text_file(word, most_xml + 1);
  if (!text)
    throw UsageError(
        fmt::format("cannot read {}: {}; wanted a domain's XML, or a command line", printable(word), text.error()));
  return std::move(*text);
}

// UEFI variables and the TPM's memory, to where a VM of this name keeps them; what is there already stays.
void adopt(const Imported& imported, const fs::path& base) {
  LinuxHost host;
  const fs::path own = base / imported.name;
  const auto copy = [&](const fs::path& from, const fs::path& to) {
    if (fs::exists(to))
      throw std::runtime_error(
          fmt::format("{} is there already: `vmrun forget {}` removes it", to.string(), imported.name));
    host.files.copy_once(from, to);
    say(fmt::format("copied {} to {}", from.string(), to.string()));
  };
  if (!imported.state.variables.empty()) {
    host.files.keep_directory(own, std::nullopt);
    copy(imported.state.variables,
         own / (imported.state.variables.ends_with(".qcow2") ? variables_image : variables_file));
  }
  if (imported.state.tpm.empty()) return;
  host.files.keep_directory(own, std::nullopt);
  host.files.keep_directory(own / tpm_directory, geteuid());  // QEMU's user gets it, and what is in it, at the start
  copy(fs::path(imported.state.tpm) / "tpm2-00.permall", own / tpm_directory / "tpm2-00.permall");
}

void write_new(const std::string& file, const std::string& text) {
  const Fd fd(open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd)
    throw UsageError(errno == EEXIST
                         ? printable(file) + " is there already; name another file, or remove it"
                         : fmt::format("cannot make {}: {}", printable(file), std::generic_category().message(errno)));
  const ssize_t written = write(fd.get(), text.data(), text.size());
  if (written == static_cast<ssize_t>(text.size())) return;
  const int why = written < 0 ? errno : ENOSPC;
  unlink(file.c_str());  // half a spec is none
  throw std::system_error(why, std::generic_category(), "write " + file);
}

int tell(const Options& options, const Imported& imported) {
  const int code = exit_code_of(imported.report);
  const auto file = options.value("output");
  if (file && code != problems) write_new(*file, imported.spec);
  if (options.flag("json"))
    print_json(report_json(imported.report, imported.spec));
  else if (file)
    print(to_text(imported.report));
  else {
    print(imported.spec);
    complain(printable_lines(to_text(imported.report)));
  }
  if (code == problems) say("no spec is written: see what is refused");
  return code;
}

}  // namespace

int import(const Options& options) {
  const auto from = options.value("from");
  ImportOptions asked;
  asked.replace_pins = options.flag("replace-pins");
  asked.adopt_state = options.flag("adopt-state");
  asked.tpm_state = options.value("tpm-state").value_or("");
  if (!asked.tpm_state.empty() && !asked.adopt_state)
    throw UsageError("--tpm-state says where the TPM's memory is; wanted --adopt-state with it, which copies it");
  const bool argv = options.flag("argv");
  if (from && argv) throw UsageError("--from asks for a domain; --argv reads a command line: give one of them");
  if (asked.replace_pins && argv) throw UsageError("--replace-pins is about a domain's pins; a command line has none");
  if (from && !options.words().empty()) throw UsageError("--from names the domain; a file beside it is one too many");
  if (from) asked.network = network_of_virsh;
  const std::string text = from
                               ? domain_of_virsh(*from, asked.adopt_state)
                               : text_of_word(options.word(0, argv ? "a file with a QEMU command line, or '-'"
                                                                   : "a domain's XML file, '-', or --from virsh:NAME"));
  const auto imported = argv ? import_argv(text, asked) : import_domain(text, asked);
  if (!imported) {
    say(fmt::format("not a {} that can be read: {}", argv ? "command line" : "domain", printable(imported.error())));
    return problems;
  }
  if (asked.adopt_state && exit_code_of(imported->report) != problems)
    adopt(*imported, state_base(host_config_or_throw(options)));
  return tell(options, *imported);
}

}  // namespace launcher::commands
