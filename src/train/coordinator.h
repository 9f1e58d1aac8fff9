// Rank 0 makes or loads the secret basis and sends it to the others. All ranks are checked for what they must share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "record/cursor.h"
#include "record/run_directory.h"
#include "spankey/keys/basis.h"
#include "spankey/models/named_tensor.h"

namespace spankey {

struct Experiment;

class Coordinator {
 public:
  Coordinator(const Experiment& experiment, Communicator& communicator);

  // Returns the basis of the run. It is read from secret/basis.h5 where that exists. Otherwise it is made (from
  // key.seed, or from the operating system's entropy with key.private) and stored there with mode 0600.
  // `expected_digest` is that of the checkpoint being resumed, empty for a new run. `check_origin` says that the
  // configuration may have changed since the file was made. Error(bad_input) then says where it describes another
  // basis. Collective. Every rank returns the same tensors.
  Basis obtain_basis(const RunDirectory& directory, const std::string& expected_digest, bool check_origin);

  // Collective. Compares the SHA-256 of the configuration, the data, the layout of the network, the cursor, the basis
  // and the weights between the ranks. Throws AgreedError(run_failed) that names what differs and the ranks that differ
  // from rank 0.
  void audit(const Basis& basis, const Cursor& cursor);
  // Collective. Compares what changes while a run goes on (cursor, basis and weights) by checksum. For ResNet-18 this
  // takes a twentieth of the time.
  void audit_by_checksum(const Basis& basis, const Cursor& cursor);

 private:
  std::vector<Claim> claims_of_experiment() const;

  const Experiment& experiment_;
  Communicator& communicator_;
};

}  // namespace spankey
