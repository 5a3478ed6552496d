// The completion script, as bash runs it: words, names of VMs and specs, at the places where they belong.
#include "launcher/commands/completion.hpp"

#include <doctest/doctest.h>
#include <stdio.h>

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

}  // namespace

TEST_CASE("bash completes verbs, options, VMs and specs") {
  const fakes::TempDir dir;
  const fs::path where = dir / "here";
  for (const char* name : {"run/db", "run/web", "specs", "kept/old"}) fs::create_directories(where / name);
  for (const char* name : {"db.toml", "my db.toml", "notes.txt", "run/.lock"}) std::ofstream(where / name) << "";
  CHECK(complete(where, "vmrun st") == "start\nstop\n");
  CHECK(complete(where, "vmrun d") == "db.toml\ndiff\n");
  CHECK(complete(where, "vmrun my") == "my db.toml\n");
  CHECK(complete(where, "vmrun start ''").find("db.toml\nkept\nmy db.toml\nrun\nspecs\n") != std::string::npos);
  CHECK(complete(where, "vmrun start --ti") == "--timings\n");
  CHECK(complete(where, "vmrun db.toml --no") == "--no-console\n");
  CHECK(complete(where, "vmrun stop d") == "db\n");
  CHECK(complete(where, "vmrun stop w") == "web\n");
  CHECK(complete(where, "vmrun forget ''") == "--json\n--maker\ndb\nold\nweb\n");
  CHECK(complete(where, "vmrun list --") == "--all\n--json\n");
  CHECK(complete(where, "vmrun import no") == "notes.txt\n");
  CHECK(complete(where, "vmrun import --a") == "--adopt-state\n");
  CHECK(complete(where, "vmrun host tu") == "tune\n");
  CHECK(complete(where, "vmrun host check d") == "db.toml\n");
  CHECK(complete(where, "vmrun diff w") == "web\n");
  CHECK(complete(where, "vmrun diff no") == "notes.txt\n");
  CHECK(complete(where, "vmrun replay no") == "notes.txt\n");
  CHECK(complete(where, "vmrun help sta") == "start\n");
}
