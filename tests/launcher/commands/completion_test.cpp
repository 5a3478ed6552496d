// The completion script, as bash runs it: words, names of VMs and specs, at the places where they belong.
#include "launcher/commands/completion.hpp"

#include <doctest/doctest.h>
#include <stdio.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/fakes/temp_dir.hpp"

namespace {

namespace fs = std::filesystem;

// What COMPREPLY holds after these words, the last one to be completed; one a line.
std::string complete(const fs::path& where, const std::string& words) {
  std::ofstream(where / "script") << launcher::commands::bash_completion()
                                  << "cd \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _vmrun\n"
                                     "printf '%s\\n' \"${COMPREPLY[@]}\"\n";
  const std::string command = "VMRUN_RUN_DIR='" + (where / "run").string() + "' VMRUN_STATE_DIR='" +
                              (where / "kept").string() + "' bash '" + (where / "script").string() + "' '" +
                              where.string() + "' " + words + " 2>&1";
  FILE* bash = popen(command.c_str(), "r");
  std::string out;
  char bytes[4096];
  for (std::size_t got; (got = fread(bytes, 1, sizeof bytes, bash)) > 0;) out.append(bytes, got);
  pclose(bash);
  return out;
}

// What a shell says to a command line, with these files at hand.
std::string said_by(const std::string& command) {
  FILE* shell = popen((command + " 2>&1").c_str(), "r");
  std::string out;
  char bytes[4096];
  for (std::size_t got; (got = fread(bytes, 1, sizeof bytes, shell)) > 0;) out.append(bytes, got);
  pclose(shell);
  return out;
}

bool is_there(const char* program) {
  return std::system((std::string("command -v ") + program + " >/dev/null").c_str()) == 0;
}

}  // namespace

TEST_CASE("fish completes them, too" * doctest::skip(!is_there("fish"))) {
  const fakes::TempDir dir;
  const fs::path where = dir / "here";
  for (const char* name : {"run/db", "run/web", "kept/old"}) fs::create_directories(where / name);
  std::ofstream(where / "db.toml") << "";
  std::ofstream(where / "script") << launcher::commands::fish_completion();
  const auto complete = [&](const std::string& words) {
    return said_by("cd '" + where.string() + "' && HOME='" + where.string() +
                   "' VMRUN_RUN_DIR=run VMRUN_STATE_DIR=kept fish -N -c 'source script; complete -C \"" + words +
                   "\"' | cut -f1");
  };
  CHECK(complete("vmrun sta") == "start\n");
  CHECK(complete("vmrun stop d") == "db\n");
  CHECK(complete("vmrun forget o") == "old\n");
  CHECK(complete("vmrun start --ti") == "--timings\n");
  CHECK(complete("vmrun start d") == "db.toml\n");
}

TEST_CASE("zsh completes them, too" * doctest::skip(!is_there("zsh"))) {
  const fakes::TempDir dir;
  const fs::path where = dir / "here";
  for (const char* name : {"run/db", "kept/old"}) fs::create_directories(where / name);
  std::ofstream(where / "db.toml") << "";
  std::ofstream(where / "script") << launcher::commands::zsh_completion();
  // a terminal of its own, in which Tab is pressed
  std::ofstream(where / "drive") << R"(zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'PS1=; autoload -U compinit; compinit -u -D; source script; zstyle ":completion:*" list-prompt ""; echo rea""dy'
zpty -r z line '*ready*'
zpty -w -n z "$1"$'\t'
sleep 1
zpty -w -n z $'\C-a'"echo '<"$'\C-e'">'"$'\n'
zpty -r z line '*<*>*<*>*'
print -r -- ${${line##*<}%%>*}
)";
  const auto complete = [&](const std::string& words) {
    return said_by("cd '" + where.string() +
                   "' && VMRUN_RUN_DIR=run VMRUN_STATE_DIR=kept TERM=dumb timeout 20 zsh -f drive '" + words + "'");
  };
  CHECK(complete("vmrun sta") == "vmrun start\n");
  CHECK(complete("vmrun stop d") == "vmrun stop db\n");
  CHECK(complete("vmrun start --ti") == "vmrun start --timings\n");
}

TEST_CASE("bash completes verbs, options, VMs and specs") {
  const fakes::TempDir dir;
  const fs::path where = dir / "here";
  for (const char* name : {"run/db", "run/web", "specs", "kept/old"}) fs::create_directories(where / name);
  for (const char* name : {"db.toml", "my db.toml", "notes.txt", "run/.lock"}) std::ofstream(where / name) << "";
  CHECK(complete(where, "vmrun st") == "start\nstop\n");
  CHECK(complete(where, "vmrun d") == "db.toml\ndiff\ndisable\n");
  CHECK(complete(where, "vmrun my") == "my db.toml\n");
  CHECK(complete(where, "vmrun start ''").find("db.toml\nkept\nmy db.toml\nrun\nspecs\n") != std::string::npos);
  CHECK(complete(where, "vmrun start --ti") == "--timings\n");
  CHECK(complete(where, "vmrun db.toml --no") == "--no-console\n");
  CHECK(complete(where, "vmrun stop d") == "db\n");
  CHECK(complete(where, "vmrun stop w") == "web\n");
  CHECK(complete(where, "vmrun forget ''") == "--json\n--maker\ndb\nold\nweb\n");
  CHECK(complete(where, "vmrun list --") == "--all\n--json\n");
  CHECK(complete(where, "vmrun import no") == "notes.txt\n");
  CHECK(complete(where, "vmrun import --a") == "--adopt-state\n--argv\n");
  CHECK(complete(where, "vmrun host tu") == "tune\n");
  CHECK(complete(where, "vmrun host check d") == "db.toml\n");
  CHECK(complete(where, "vmrun diff w") == "web\n");
  CHECK(complete(where, "vmrun diff no") == "notes.txt\n");
  CHECK(complete(where, "vmrun replay no") == "notes.txt\n");
  CHECK(complete(where, "vmrun help sta") == "start\n");
}
