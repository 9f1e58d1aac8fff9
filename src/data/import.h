// Makes data sets from files in the formats in which they are published.
//
// Each function writes `out` durably, or throws Error(bad_input) with the file, the offset and what was expected there,
// in one line (offsets in a .gz count the uncompressed bytes). The set is built in memory.
#pragma once

#include <filesystem>

namespace spankey {

// Reads the IDX files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
// t10k-labels-idx1-ubyte (a dot for the second dash is fine), each plain or with .gz. MNIST, Fashion-MNIST and other
// sets of ten classes have this form.
void import_mnist(const std::filesystem::path& folder, const std::filesystem::path& out);

// Reads data_batch_1.bin to data_batch_5.bin and test_batch.bin, in `folder` or its sub-folder cifar-10-batches-bin.
void import_cifar10(const std::filesystem::path& folder, const std::filesystem::path& out);

// Reads train/<class>/* and test/<class>/*, JPEG or PNG of one size and number of channels. Classes are the folders of
// train/, and links to folders, in alphabetical order. Samples are ordered by class, then by file name. Names that
// start with a dot, other formats, folders inside of a class and links that lead nowhere are skipped. A warning for
// each of these reasons, and for each kind of remark on pictures (picture.h), says how many. A class without pictures
// to train on is refused.
void import_folder(const std::filesystem::path& folder, const std::filesystem::path& out);

}  // namespace spankey
