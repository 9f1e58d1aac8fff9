# Every dependency but LibTorch, found once here: packages of the system, modules, conda or Spack (docs/install.md). All that is
# missing is told at once, with what would serve.
set(spankey_missing)

# spankey_find(WHAT PACKAGES NAME [ARGUMENTS OF find_package]): WHAT and PACKAGES are for the message.
macro(spankey_find what packages name)
  find_package(${name} ${ARGN} QUIET)
  if(NOT ${name}_FOUND)
    set(spankey_considered)
    if(${name}_CONSIDERED_VERSIONS)
      set(spankey_considered ", found only ${${name}_CONSIDERED_VERSIONS}")
    endif()
    list(APPEND spankey_missing "${what}${spankey_considered} (${packages})")
  endif()
endmacro()

# spankey_find_header(VARIABLE HEADER WHAT PACKAGES)
macro(spankey_find_header variable header what packages)
  find_path(${variable} ${header})
  if(NOT ${variable})
    list(APPEND spankey_missing "${what} (${packages})")
  endif()
endmacro()

set(HDF5_PREFER_PARALLEL OFF)
find_package(Threads REQUIRED)
spankey_find("MPI 3.1 for C" "Debian libopenmpi-dev, Fedora openmpi-devel, conda openmpi or mpich, module load openmpi"
  MPI 3.1 COMPONENTS C)
spankey_find("HDF5 1.10.7 for C" "Debian libhdf5-dev, Fedora hdf5-devel, conda hdf5, Spack hdf5, module load hdf5"
  HDF5 1.10.7 COMPONENTS C)
spankey_find("fmt 9" "Debian libfmt-dev, Fedora fmt-devel, conda or Spack fmt" fmt 9)
spankey_find("spdlog 1.10" "Debian libspdlog-dev, Fedora spdlog-devel, conda or Spack spdlog" spdlog 1.10)
spankey_find("nlohmann-json 3.11" "Debian nlohmann-json3-dev, Fedora json-devel, conda nlohmann_json, Spack nlohmann-json"
  nlohmann_json 3.11)
spankey_find("CLI11 2.1" "Debian libcli11-dev, Fedora cli11-devel, conda or Spack cli11" CLI11 2.1)
spankey_find("zlib" "Debian zlib1g-dev, Fedora zlib-devel, conda zlib, Spack zlib-api" ZLIB)
spankey_find("libjpeg" "Debian libjpeg-dev, Fedora libjpeg-turbo-devel, conda or Spack libjpeg-turbo" JPEG)
spankey_find("libpng" "Debian libpng-dev, Fedora libpng-devel, conda or Spack libpng" PNG)
spankey_find("pkg-config" "Debian, Fedora and Spack pkgconf, conda pkg-config" PkgConfig)
if(PkgConfig_FOUND)
  pkg_check_modules(sodium QUIET IMPORTED_TARGET libsodium)
endif()
if(NOT TARGET PkgConfig::sodium)
  list(APPEND spankey_missing
       "libsodium, by pkg-config (Debian libsodium-dev, Fedora libsodium-devel, conda or Spack libsodium)")
endif()
spankey_find_header(TOMLPLUSPLUS_INCLUDE_DIR toml++/toml.h "toml++ 3.3"
  "Debian libtomlplusplus-dev, Fedora tomlplusplus-devel, conda or Spack tomlplusplus")
spankey_find_header(RANDOM123_INCLUDE_DIR Random123/philox.h "Random123"
  "Debian librandom123-dev, Spack random123, or -DRANDOM123_INCLUDE_DIR=FOLDER")
spankey_find_header(BOOST_MATH_INCLUDE_DIR boost/math/distributions/beta.hpp "Boost.Math"
  "Debian libboost-dev, Fedora boost-devel, conda libboost-headers, Spack boost")
if(spankey_missing)
  list(JOIN spankey_missing "; " spankey_missing)
  message(FATAL_ERROR "not found: ${spankey_missing}. CMAKE_PREFIX_PATH names folders in which to look")
endif()

add_library(mpi_c INTERFACE)
target_link_libraries(mpi_c INTERFACE MPI::MPI_C)
# The C++ bindings were removed from MPI-3; Open MPI's header still declares them unless told not to.
target_compile_definitions(mpi_c INTERFACE OMPI_SKIP_MPICXX)

add_library(hdf5_c INTERFACE)
target_include_directories(hdf5_c SYSTEM INTERFACE ${HDF5_INCLUDE_DIRS})
target_link_libraries(hdf5_c INTERFACE ${HDF5_C_LIBRARIES})

add_library(header_only INTERFACE)
target_include_directories(header_only SYSTEM INTERFACE ${TOMLPLUSPLUS_INCLUDE_DIR} ${RANDOM123_INCLUDE_DIR}
  ${BOOST_MATH_INCLUDE_DIR})
