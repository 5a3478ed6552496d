// `vmrun exec`: a program in the guest, by its agent (as root) or, where none answers, by ssh. The rule: stdout, stderr and exit code
// are the program's.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/guest.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/guest/agent.hpp"
#include "launcher/guest/ssh.hpp"

namespace launcher::commands {

namespace {

constexpr std::size_t most_input = std::size_t{8} << 20;  // the agent wants it in one message

std::string all_of_stdin() {
  std::string bytes;
  char block[65536];
  while (true) {
    const ssize_t count = read(STDIN_FILENO, block, sizeof block);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return bytes;
    bytes.append(block, static_cast<std::size_t>(count));
    if (bytes.size() > most_input) throw UsageError("stdin has more than 8 MiB; `vmrun ssh` takes any amount");
  }
}

int by_agent(::qmp::Client& agent, const Options& options, const VmDir& dir, const std::vector<std::string>& command) {
  const std::optional<std::string> input = options.flag("stdin") ? std::optional(all_of_stdin()) : std::nullopt;
  try {
    const Ran ran = run_by_agent(agent, command, input, [&] {
      if (!dir.owner_alive()) throw std::runtime_error("VM " + dir.name() + " has ended");
    });
    hand_on(STDOUT_FILENO, ran.out);
    hand_on(STDERR_FILENO, ran.error);
    if (ran.cut) say("the agent kept only a part of what it wrote (`vmrun ssh` has no such limit)");
    return ran.code;
  } catch (const ::qmp::Error& error) {
    if (error.kind != ::qmp::Error::Kind::refused) throw;
    throw std::runtime_error(fmt::format("the guest's agent refused: {}", error.what()));
  }
}

}  // namespace

int exec(const Options& options) {
  const VmDir dir = named_vm(options);
  options.word(1, "a command, such as: vmrun exec NAME -- uname -r");
  const std::vector<std::string> command(options.words().begin() + 1, options.words().end());
  const Access access = access_or_throw(dir);
  if (auto agent = access.agent ? reach_agent(dir.path(), std::chrono::seconds(2)) : std::nullopt)
    return by_agent(*agent, options, dir, command);
  if (access.keys.empty())
    throw std::runtime_error(fmt::format(
        "no guest agent answers in VM {}, and it has no ssh keys of its own; {}", dir.name(),
        access.agent ? "does qemu-ga run in the guest?" : "its spec needs a table [agent], or [cloud_init]"));
  std::vector<std::string> words = ssh_to(options, dir, {quoted_for_sh(command)});
  words.insert(words.begin() + 1, options.flag("stdin") ? "-T" : "-nT");
  return become(words);
}

}  // namespace launcher::commands
