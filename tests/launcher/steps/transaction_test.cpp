// The journal: what is written before a step, what is read back after a crash, and undoing it in order.
#include "launcher/steps/transaction.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/serialize.hpp>
#include <string>
#include <vector>

#include "tests/fakes/fake_host.hpp"
#include "tests/fakes/temp_dir.hpp"

namespace {

using namespace launcher;
using topology::mib;

struct Place {
  fakes::TempDir dir;
  std::filesystem::path base = dir / "run";
  fakes::FakeHost host{dir / "host"};
  Place() {
    std::filesystem::create_directories(base);
    host.add_pool({.node = 0, .page = mib(2), .total = 100});
  }
  VmDir claim(const std::string& name) { return VmDir::claim(base, name).value(); }
};

std::vector<std::string> texts(const std::vector<VmDir::Undo>& undos) {
  std::vector<std::string> out;
  for (const VmDir::Undo& undo : undos) out.push_back(std::to_string(undo.number) + " " + describe(undo.step));
  return out;
}

std::string undo_line(int number, const Step& step) {
  return boost::json::serialize(boost::json::object{{"undo", number}, {"step", to_json(step)}}) + "\n";
}

void make_owner_dead(const VmDir& dir) { fakes::write_file(dir.path() / "owner", R"({"pid":1,"start":1})"); }

}  // namespace

TEST_CASE("the undo is in the journal before the step is done") {
  Place place;
  const VmDir dir = place.claim("db");
  Transaction transaction(place.host, dir, std::nullopt);
  place.host.stop_dead_at(0, fakes::When::before);
  CHECK_THROWS_AS(transaction.perform(RaisePool{0, mib(2), 28, 100}), fakes::StopDead);
  CHECK(texts(dir.pending()) == std::vector<std::string>{"0 trim node 0's pool of 2M pages by 28, not below 100"});
  CHECK(place.host.total(0, mib(2)) == 100);
}

TEST_CASE("undone last first, each once, and then the claim is gone") {
  Place place;
  const VmDir dir = place.claim("db");
  {
    Transaction transaction(place.host, dir, std::nullopt);
    transaction.perform(RaisePool{0, mib(2), 28, 100});
    transaction.perform(Listen{(dir.path() / "a.sock").string(), 10, false});
    transaction.perform(MakeTap{"v.0", "", std::nullopt, {11}});
  }
  CHECK(dir.pending().size() == 2);  // a socket lies in the VM's directory and goes with it
  place.host.heal();
  CHECK(unwind(place.host, dir, place.base).empty());
  CHECK(place.host.log() == std::vector<std::string>{"drop_tap v.0", "pool_total 0 2M", "set_pool 0 2M 100"});
  CHECK(!std::filesystem::exists(dir.path()));
}

TEST_CASE("a helper gets its files, QEMU does not, and it is ended with the VM") {
  Place place;
  const VmDir dir = place.claim("db");
  const std::string log = (dir.path() / "cat.log").string();
  {
    Transaction transaction(place.host, dir, std::nullopt);
    transaction.perform(Pair{10, 11});
    ChildSpec child;
    child.argv = {"/bin/sh", "-c", "echo to the log; cat <&5 >&5"};
    transaction.perform(StartHelper{"echo", child, {{5, 11}}, log});
    CHECK(transaction.opened().fds.contains(10));
    CHECK(!transaction.opened().fds.contains(11));
    REQUIRE(transaction.opened().helpers.size() == 1);
    CHECK(transaction.opened().helpers[0].role == "echo");
    const int ours = transaction.opened().fds.at(10);
    REQUIRE(write(ours, "hello", 5) == 5);
    char word[6] = {};
    REQUIRE(read(ours, word, 5) == 5);  // the other end is open in the helper alone
    CHECK(std::string(word) == "hello");
    CHECK(fakes::read_file(log) == "to the log\n");
  }
  CHECK(place.host.live_processes().size() == 1);
  CHECK(dir.pending().size() == 1);
  CHECK(unwind(place.host, dir, place.base).empty());
  CHECK(place.host.live_processes().empty());
}

TEST_CASE("a step that fails says which, and its own undo stays to be done") {
  Place place;
  const VmDir dir = place.claim("db");
  Transaction transaction(place.host, dir, std::nullopt);
  place.host.fail_at(1);
  try {
    transaction.perform(RaisePool{0, mib(2), 28, 100});
    FAIL("it was to throw");
  } catch (const std::exception& error) {
    CHECK(std::string(error.what()) == "could not raise node 0's pool of 2M pages by 28");
    CHECK_THROWS_AS(std::rethrow_if_nested(error), std::system_error);
  }
  CHECK(dir.pending().size() == 1);
}

TEST_CASE("what cannot be undone is told, the rest is undone, and the claim stays for recover") {
  Place place;
  const VmDir dir = place.claim("db");
  Transaction transaction(place.host, dir, std::nullopt);
  transaction.perform(RaisePool{0, mib(2), 28, 100});
  transaction.perform(MakeTap{"v.0", "", std::nullopt, {11}});  // its fd is still open here
  const std::vector<std::string> left = unwind(place.host, dir, place.base);
  REQUIRE(left.size() == 1);
  CHECK(left[0] == "could not let tap v.0 go with its last fd: tap v.0 is still there: some process holds it open");
  CHECK(place.host.total(0, mib(2)) == 100);
  CHECK(texts(dir.pending()) == std::vector<std::string>{"1 let tap v.0 go with its last fd"});
  make_owner_dead(dir);
  Recovered recovered = recover_dead(place.host, place.base);
  CHECK(recovered.left.size() == 1);
  close(transaction.opened().fds.at(11));
  transaction.opened().fds.clear();
  recovered = recover_dead(place.host, place.base);
  CHECK(recovered.names == std::vector<std::string>{"db"});
  CHECK(recovered.left.empty());
  CHECK(recover_dead(place.host, place.base).names.empty());
  CHECK(VmDir::all(place.base).empty());
}

TEST_CASE("a live owner's VM is left alone by recover") {
  Place place;
  const VmDir dir = place.claim("db");
  dir.journal_undo(0, TrimPool{0, mib(2), 50, 0});
  CHECK(recover_dead(place.host, place.base).names.empty());
  CHECK(place.host.total(0, mib(2)) == 100);
  make_owner_dead(dir);
  CHECK(recover_dead(place.host, place.base).names == std::vector<std::string>{"db"});
  CHECK(place.host.total(0, mib(2)) == 50);
}

TEST_CASE("stopped dead in the middle of undoing, undoing again ends in the same state") {
  for (const fakes::When when : {fakes::When::before, fakes::When::after}) {
    for (std::size_t verb = 0; verb < 7; ++verb) {
      INFO("verb ", verb, std::string(when == fakes::When::before ? " before" : " after"), " its effect");
      Place place;
      const VmDir other = place.claim("other");  // whose raise must stay
      Transaction others(place.host, other, std::nullopt);
      others.perform(RaisePool{0, mib(2), 7, 100});
      const VmDir dir = place.claim("db");
      {
        Transaction transaction(place.host, dir, std::nullopt);
        transaction.perform(RaisePool{0, mib(2), 28, 100});
        transaction.perform(Listen{(dir.path() / "a.sock").string(), 10, false});
        transaction.perform(MakeTap{"v.0", "", std::nullopt, {11}});
        transaction.perform(MakeMacvtap{"v.1", "eth0", "bridge", "52:54:00:01:02:03", std::nullopt, {12}});
      }
      make_owner_dead(dir);
      place.host.heal();
      place.host.stop_dead_at(verb, when);
      try {
        (void)recover_dead(place.host, place.base);
      } catch (const fakes::StopDead&) {
      }
      place.host.heal();
      CHECK(recover_dead(place.host, place.base).left.empty());
      CHECK(recover_dead(place.host, place.base).names.empty());
      CHECK(place.host.total(0, mib(2)) == 107);
      CHECK(place.host.snapshot(place.base).find("macvtap") == std::string::npos);
      CHECK(!std::filesystem::exists(dir.path()));
      CHECK(std::filesystem::exists(other.path()));
    }
  }
}

TEST_CASE("a journal is read whatever a crash left of it") {
  const std::string first = undo_line(0, DropTap{"a"});
  const std::string second = undo_line(1, DropTap{"b"});
  const auto pending = [](const std::string& text) { return texts(parse_journal(text)); };
  const std::string a = "0 let tap a go with its last fd";
  const std::string b = "1 let tap b go with its last fd";
  CHECK(pending("").empty());
  CHECK(pending(first + second) == std::vector<std::string>{a, b});
  CHECK(pending(first + second + "{\"undone\":1}\n") == std::vector<std::string>{a});
  CHECK(pending(first + second + "{\"undone\":0}\n") == std::vector<std::string>{b});
  CHECK(pending(first + "{\"undone\":0}\n{\"undone\":0}\n").empty());
  CHECK(pending(first + "{\"undone\":7}\n") == std::vector<std::string>{a});
  CHECK(pending(second + first) == std::vector<std::string>{a, b});
  CHECK(pending(first + "{\"undone\":0}") == std::vector<std::string>{a});  // torn: whether it was undone is not known
  for (std::size_t size = 0; size < second.size(); ++size) {
    INFO("torn after ", size, " bytes");
    CHECK(pending(first + second.substr(0, size)) == std::vector<std::string>{a});
  }
  for (const char* junk :
       {"\n", "{}\n", "[]\n", "nonsense\n", "{\"undo\":2}\n", "{\"undo\":2,\"step\":{\"burn_host\":{}}}\n",
        "{\"undo\":-1,\"step\":7}\n", "{\"undo\":1e99,\"step\":{\"drop_tap\":{\"name\":\"c\"}}}\n", "\xff\xfe\n"}) {
    INFO("with ", std::string(junk));
    CHECK(pending(first + junk + second) == std::vector<std::string>{a, b});
  }
  CHECK(pending(first + std::string(3, '\0') + "\n" + second) == std::vector<std::string>{a, b});
}

TEST_CASE("the journal is appended to, also after a torn line") {
  Place place;
  const VmDir dir = place.claim("db");
  dir.journal_undo(0, DropTap{"a"});
  fakes::write_file(dir.path() / "journal", fakes::read_file(dir.path() / "journal") + "{\"undo\":1,\"st");
  dir.journal_undone(0);  // its line is joined to the torn one: then the undo is simply done again
  const auto pending = texts(dir.pending());
  CHECK(pending.size() == 1);
  dir.journal_undone(0);
  CHECK(dir.pending().empty());
}
