# Every dependency but LibTorch: Debian packages, found once here.
find_package(Threads REQUIRED)
find_package(MPI 3.1 REQUIRED COMPONENTS C)
set(HDF5_PREFER_PARALLEL OFF)
find_package(HDF5 1.10 REQUIRED COMPONENTS C)
find_package(fmt 9 REQUIRED)
find_package(spdlog 1.10 REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(JPEG REQUIRED)
find_package(PNG REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(sodium REQUIRED IMPORTED_TARGET libsodium)
find_path(TOMLPLUSPLUS_INCLUDE_DIR toml++/toml.h REQUIRED)
find_path(RANDOM123_INCLUDE_DIR Random123/philox.h REQUIRED)
find_path(BOOST_MATH_INCLUDE_DIR boost/math/distributions/beta.hpp REQUIRED)

add_library(mpi_c INTERFACE)
target_link_libraries(mpi_c INTERFACE MPI::MPI_C)
# The C++ bindings were removed from MPI-3; Open MPI's header still declares them unless told not to.
target_compile_definitions(mpi_c INTERFACE OMPI_SKIP_MPICXX)

add_library(hdf5_c INTERFACE)
target_include_directories(hdf5_c SYSTEM INTERFACE ${HDF5_INCLUDE_DIRS})
target_link_libraries(hdf5_c INTERFACE ${HDF5_C_LIBRARIES})

add_library(header_only INTERFACE)
target_include_directories(header_only SYSTEM INTERFACE ${TOMLPLUSPLUS_INCLUDE_DIR} ${RANDOM123_INCLUDE_DIR})
