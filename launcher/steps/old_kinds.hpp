// Kinds of steps and undos that records of versions 0 and 1 have, in the words of today.
#pragma once

#include <boost/json/fwd.hpp>

namespace launcher::inline steps {

// Pure. What is of no old kind comes back as it is. ChangeFile and ChangeBack stand for six kinds and their five undos of old.
boost::json::value in_words_of_today(const boost::json::value& step_or_undo, bool undo);

}  // namespace launcher::steps
